"""Sharding applied to a model from outside, reading its plan."""
