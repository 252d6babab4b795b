"""Clips, captions, their order and their encoding as text."""
