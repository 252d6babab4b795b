"""Modules of a few lines, so that the published commands work from the repository root."""
