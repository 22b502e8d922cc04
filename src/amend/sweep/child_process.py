"""Start one run of a sweep: ``child_process.py PARENT CORES COMMAND...`` replaces itself with the command.

The kernel ends the run when the sweep's runner dies for any reason. Without this, a killed sweep would leave runs that
the next sweep starts a second time. The run also uses only its share of the cores. Both need Linux; on other systems
this script only starts the command. It imports nothing of amend, so that it takes milliseconds.
"""

import ctypes
import os
import signal
import sys

SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG in linux/prctl.h


def main(parent: int, cores: list[int], command: list[str]) -> None:
    """Replace this process with ``command``.

    Args:
        parent: Process id of the runner.
        cores: Cores that the run may use.
        command: The command line of the run.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:  # the runner died before the call of prctl
            sys.exit(1)
        os.sched_setaffinity(0, cores)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), [int(core) for core in sys.argv[2].split(",")], sys.argv[3:])
