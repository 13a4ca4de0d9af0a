"""What the read-out adds to a report: heads in words, ablation curves, maps and neighbours."""

from readouts.text_decomposition.exhibits._gallery import exhibits

__all__ = ["exhibits"]
