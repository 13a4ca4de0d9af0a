"""The content-addressed store of what was extracted."""
