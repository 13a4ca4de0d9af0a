"""What the read-out adds to a report."""

from readouts.concepts.exhibits.gallery import exhibits

__all__ = ["exhibits"]
