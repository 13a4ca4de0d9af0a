"""What the binding read-out adds to a report: drawings that know objects, features and probes."""

from binding.exhibits._base import Exhibit
from binding.exhibits._gallery import exhibits

__all__ = ["Exhibit", "exhibits"]
