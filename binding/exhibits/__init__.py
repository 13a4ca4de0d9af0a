"""What the binding read-out adds to a report: drawings that know objects, features and probes."""

from binding.exhibits._gallery import exhibits
from binding.exhibits._samples import shown_samples
from frozen.readout.exhibit import Exhibit

__all__ = ["Exhibit", "exhibits", "shown_samples"]
