"""Training: start with loop.py."""
