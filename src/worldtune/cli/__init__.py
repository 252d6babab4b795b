"""The commands: words in, one call out."""
