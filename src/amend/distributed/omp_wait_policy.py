"""Set how the threads of torch wait for each other. This must happen before torch is imported.

The threads of a parallel loop spin while they wait for the slowest thread. This is fastest if each thread has its own
core. If another process delays one thread, the other threads waste CPU time, also that of the other process. Therefore
threads spin by default, but sleep after a short time if the machine is busy at the start of the run.

GNU OpenMP, which torch uses on Linux, reads GOMP_SPINCOUNT once, when it is loaded. The setting changes no result of a
run. A setting of the user takes precedence.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

STAT = Path("/proc/stat")
MEASURE_SECONDS = 0.1  # seconds during which the CPU use of the machine is measured
BUSY_CORES = 0.5  # number of cores in use above which the machine counts as busy
# Iterations of the spin loop before a thread sleeps, a few microseconds. With three other busy processes on two cores,
# a smoke run takes 24 s with this value and 230 s without. On an idle machine, the value makes training 15 to 25 %
# slower.
SHORT_SPIN_COUNT = "3000"


def configure_omp_wait_policy() -> None:
    """Set GOMP_SPINCOUNT for this process and its child processes if the machine is busy."""
    if os.environ.keys() & {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} or not STAT.exists():
        return
    start = _read_busy_seconds()
    time.sleep(MEASURE_SECONDS)
    if _read_busy_seconds() - start > BUSY_CORES * MEASURE_SECONDS:
        os.environ["GOMP_SPINCOUNT"] = SHORT_SPIN_COUNT


def _read_busy_seconds() -> float:
    """Return the seconds for which all cores together were busy since boot (proc(5): user, nice, system)."""
    total = STAT.read_text(encoding="ascii").split("\n", 1)[0].split()
    return sum(int(ticks) for ticks in total[1:4]) / os.sysconf("SC_CLK_TCK")
