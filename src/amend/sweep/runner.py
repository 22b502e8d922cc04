"""Run the missing runs of a sweep, several at a time, each in its own process.

The same command continues a sweep after an interrupt or a kill. The runner skips finished runs, and killed runs resume
from their last checkpoint. A failed run does not stop the others. The runner lists failed runs with their reasons, and
the next start tries them again. Apart from the run folders, the runner writes only to <runs_dir>/sweeps/<file>/: the
output of each run, and failed.json.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from amend.errors import INTERRUPTED
from amend.results.run_folder.atomic_files import atomic_write_text
from amend.sweep import child_process
from amend.sweep.plan import Planned, state
from amend.sweep.progress import SweepProgress

PATIENCE = 0.1  # seconds between two polls of the processes
WAIT = 1.0  # seconds between two polls of runs that another process has locked


@dataclass
class Running:
    """A process and its run.

    Attributes:
        run: The run.
        process: The process.
        log: The file that receives the output of the process.
        slot: Index of the share of the cores that the process uses.
        began: Start time, in seconds of ``time.perf_counter``.
    """

    run: Planned
    process: subprocess.Popen[bytes]
    log: Path
    slot: int
    began: float = field(default_factory=time.perf_counter)


@dataclass
class SweepResult:
    """The outcome of a sweep.

    Attributes:
        finished: Runs that are finished, now or before.
        failed: The reason of each failed run, by its command line.
        started: Number of processes that were started.
        interrupted: Whether an interrupt ended the sweep.
    """

    finished: list[Planned] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    started: int = 0
    interrupted: bool = False


class Runner:
    """Run ``jobs`` runs at a time, each on its share of the cores that this process may use.

    Args:
        name: Name of the sweep file without its suffix.
        jobs: Number of runs at a time.
        show: Where to report the progress.
        ended: Called with each finished run.
    """

    def __init__(self, name: str, jobs: int, show: SweepProgress, ended: Callable[[Planned], None]) -> None:
        self._name, self._show, self._ended = name, show, ended
        cores = (
            sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
        )
        self._cores = [cores[slot % len(cores) :: jobs] for slot in range(jobs)]
        self._active: list[Running] = []
        self._busy: deque[Planned] = deque()  # runs that another process has locked
        self.tally = SweepResult()

    def __call__(self, runs: Iterable[Planned], count: int | None) -> SweepResult:
        """Run the missing runs.

        Args:
            runs: The runs of the sweep.
            count: The largest number of runs to start; None for no limit.

        Returns:
            The finished and the failed runs.
        """
        queue: Iterator[Planned] = iter(runs)
        old_handler = signal.signal(signal.SIGTERM, _raise_interrupt)
        try:
            has_next = True
            while has_next or self._active or self._busy:
                self._collect_ended()
                is_full = len(self._active) == len(self._cores)
                reached_count = count is not None and self.tally.started >= count
                if (has_next or self._busy) and not is_full and not reached_count:
                    has_next = self._take_next(queue) if has_next else self._retry_busy()
                elif reached_count and not self._active:
                    break
                else:
                    time.sleep(PATIENCE)
        except KeyboardInterrupt:
            self._stop()
        finally:
            signal.signal(signal.SIGTERM, old_handler)
        return self.tally

    def _take_next(self, queue: Iterator[Planned]) -> bool:
        """Take the next run of the queue; return False if the queue is empty."""
        run = next(queue, None)
        if run is not None:
            self._take(run)
        return run is not None

    def _retry_busy(self) -> bool:
        """Check again the runs that another process had locked; return False, as the queue is empty."""
        time.sleep(WAIT)
        for _ in range(len(self._busy)):
            self._take(self._busy.popleft())
        return False

    def _take(self, run: Planned) -> None:
        run_state = state(run)
        if run_state == "finished":
            self.tally.finished.append(run)
            self._show.found(run)
            self._ended(run)
        elif run_state == "refused":
            self._record_failure(run, run.refused)
        elif run_state == "busy":
            self._busy.append(run)
        else:
            self._start(run, resume=run_state == "unfinished")

    def _start(self, run: Planned, *, resume: bool) -> None:
        slot = next(i for i in range(len(self._cores)) if i not in {active.slot for active in self._active})
        log = run.runs_dir / "sweeps" / self._name / f"{run.key}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        words = [*run.command, *(["resume=true"] if resume else [])]
        cores = ",".join(map(str, self._cores[slot]))
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-S", "-E", child_process.__file__, str(os.getpid()), cores, *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment(self._name),
            )
        self._active.append(Running(run, process, log, slot))
        self.tally.started += 1
        self._show.started(run, resume)

    def _collect_ended(self) -> None:
        """Record the runs whose process has ended."""
        for active in list(self._active):
            status = active.process.poll()
            if status is None:
                continue
            self._active.remove(active)
            if status == 0 and state(active.run) == "finished":
                self.tally.finished.append(active.run)
                self._show.finished(active.run, time.perf_counter() - active.began)
                self._ended(active.run)
            else:
                self._record_failure(active.run, reason(active.log, status))

    def _record_failure(self, run: Planned, reason: str) -> None:
        self.tally.failed[" ".join(run.command)] = reason
        self._show.failed(run, reason)
        path = run.runs_dir / "sweeps" / self._name / "failed.json"
        atomic_write_text(path, json.dumps(self.tally.failed, indent=1) + "\n")

    def _stop(self) -> None:
        """Interrupt each run, which then stops after its current iteration."""
        self.tally.interrupted = True
        self._show.stopping(len(self._active))
        for active in self._active:
            active.process.send_signal(signal.SIGINT)
        try:
            for active in self._active:
                active.process.wait()
        except KeyboardInterrupt:  # a second interrupt stops the runs immediately
            for active in self._active:
                active.process.kill()
                active.process.wait()


def environment(group: str) -> dict[str, str]:
    """Return the environment of a run: W&B offline with this group, and this Python as ``python``."""
    python = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "WANDB_MODE": "offline",
        "WANDB_RUN_GROUP": group,
        "PATH": os.pathsep.join([python, os.environ.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
    }


def reason(log: Path, status: int) -> str:
    """Return why a run failed: the last line of its log, the signal that killed it, or its exit status."""
    if status < 0:
        return f"killed by {signal.Signals(-status).name}; the run continues when the sweep is started again"
    if status == INTERRUPTED:
        return "interrupted; the run continues when the sweep is started again"
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit status {status}"


def _raise_interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
