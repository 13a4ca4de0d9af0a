"""Grid, plan, extraction and trials on Ray."""

from frozen.allocator import collect_rarely

collect_rarely()  # here, because a worker of Ray starts by importing what it runs: nothing of ours comes earlier
