"""What the read-out adds to a report."""

from readouts.concepts.exhibits._all import exhibits

__all__ = ["exhibits"]
