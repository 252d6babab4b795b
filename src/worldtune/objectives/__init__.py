"""Pure functions of training and sampling: noise levels, coefficients, averages, samplers."""
