"""Data sets: their splits, samples and labels."""
