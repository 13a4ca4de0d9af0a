"""What the report shows beside the tables and figures that every read-out has."""

from frozen.readout.exhibit import Exhibit
from readouts.class_embedding.exhibits._all import exhibits

__all__ = ["Exhibit", "exhibits"]
