"""What the binding read-out adds to a report: drawings that know objects, features and probes."""

from binding.exhibits._gallery import exhibits
from frozen.readout.exhibit import Exhibit

__all__ = ["Exhibit", "exhibits"]
