"""Starts one run of a sweep: ``start.py PARENT CORES COMMAND...``, and then is that command.

The kernel is asked to end the run when the sweep's runner dies, however it dies, so that a killed sweep leaves nothing
running that its successor would run again; and the run is kept to its share of the cores. Both are Linux's; elsewhere
this only starts the command. It imports nothing of amend: it should cost milliseconds.
"""

import ctypes
import os
import signal
import sys

SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG in linux/prctl.h


def main(parent: int, cores: list[int], command: list[str]) -> None:
    """Become ``command``."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the kernel was asked
            sys.exit(1)
        os.sched_setaffinity(0, cores)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(core) for core in sys.argv[2].split(",")], sys.argv[3:])
