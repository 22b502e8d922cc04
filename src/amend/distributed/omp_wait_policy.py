"""How torch's threads wait for one another, chosen before torch is loaded.

Threads of one loop spin while they wait for the slowest: quickest where each has a core to itself. Where other work
holds one of them back, all others burn their time, and the other work's. Measured on two cores with the built-in
model: a smoke run took 230 s beside three busy processes, and 24 s where threads go to sleep soon; on a quiet machine
rounds took 15 to 25 % longer for that. So threads spin, unless the machine is busy as the run begins.

GNU's OpenMP, torch's on Linux, reads GOMP_SPINCOUNT once, as it is loaded. What a user has set stays, and so does
every number that a run computes.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

STAT = Path("/proc/stat")
WATCHED = 0.1  # seconds
BUSY = 0.5  # cores that others use
SOON = "3000"  # turns of the loop that waits, some microseconds


def configure_omp_wait_policy() -> None:
    """Set how threads wait in this process and in those it starts."""
    if os.environ.keys() & {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} or not STAT.exists():
        return
    before = _worked()
    time.sleep(WATCHED)
    if _worked() - before > BUSY * WATCHED:
        os.environ["GOMP_SPINCOUNT"] = SOON


def _worked() -> float:
    """Seconds that all cores together have worked since the machine started (proc(5): user, nice, system)."""
    first = STAT.read_text(encoding="ascii").split("\n", 1)[0].split()
    return sum(int(ticks) for ticks in first[1:4]) / os.sysconf("SC_CLK_TCK")
