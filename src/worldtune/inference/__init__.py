"""Generating clips: conditioning, sampling, writing video."""
