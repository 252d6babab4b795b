"""Post-train video world foundation models on your own clips."""

__version__ = "0.1.0"
