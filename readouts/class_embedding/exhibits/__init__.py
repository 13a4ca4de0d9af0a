"""What the report shows beside the tables and figures that every read-out has."""

from readouts.class_embedding.exhibits._all import exhibits
from readouts.class_embedding.exhibits._base import Exhibit

__all__ = ["Exhibit", "exhibits"]
