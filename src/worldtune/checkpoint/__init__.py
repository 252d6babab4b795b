"""Every file format for weights and training state, and nothing else."""
