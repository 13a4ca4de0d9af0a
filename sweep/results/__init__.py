"""Rows of a study: written, read back, viewed, held against published numbers."""
