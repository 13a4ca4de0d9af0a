"""A study while it runs: its progress line, metrics for Prometheus, and logs that other tools open."""

from sweep.live._guard import guarded
from sweep.live._logs import Finished, open_logs, tune_callbacks
from sweep.live._metrics import METRICS, Metrics
from sweep.live._monitor import Monitor

__all__ = ["METRICS", "Finished", "Metrics", "Monitor", "guarded", "open_logs", "tune_callbacks"]
