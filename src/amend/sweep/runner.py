"""Runs what is missing of a sweep, several at a time, each as a process of its own with the command line of its own.

Whatever ends the runner, starting it again goes on: finished runs are skipped, killed ones resume from their last
checkpoint, and what failed is listed with its reason, keeps nothing else from running, and is tried again next time.
Beside the run folders it writes only <runs_dir>/sweeps/<file>/: what each run said, and failed.json.
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

PATIENCE = 0.1  # seconds between two looks at the processes
WAIT = 1.0  # and at runs that somebody else's process holds


@dataclass
class Running:
    """A process and what it runs."""

    run: Planned
    process: subprocess.Popen[bytes]
    log: Path
    slot: int
    began: float = field(default_factory=time.perf_counter)


@dataclass
class SweepResult:
    """What became of a sweep's runs."""

    finished: list[Planned] = field(default_factory=list)  # now or before
    failed: dict[str, str] = field(default_factory=dict)  # command line -> reason
    started: int = 0
    interrupted: bool = False


class Runner:
    """``jobs`` runs at a time, each on its share of the cores that this process may use."""

    def __init__(self, name: str, jobs: int, show: SweepProgress, ended: Callable[[Planned], None]) -> None:
        self._name, self._show, self._ended = name, show, ended
        cores = (
            sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
        )
        self._cores = [cores[slot % len(cores) :: jobs] for slot in range(jobs)]
        self._active: list[Running] = []
        self._busy: deque[Planned] = deque()  # runs that another process is at
        self.tally = SweepResult()

    def __call__(self, runs: Iterable[Planned], count: int | None) -> SweepResult:
        """Run those that are missing, ``count`` of them at most."""
        queue: Iterator[Planned] = iter(runs)
        before = signal.signal(signal.SIGTERM, _as_interrupt)
        try:
            more = True
            while more or self._active or self._busy:
                self._reap()
                full = len(self._active) == len(self._cores)
                counters = count is not None and self.tally.started >= count
                if (more or self._busy) and not full and not counters:
                    more = self._next(queue) if more else self._again()
                elif counters and not self._active:
                    break
                else:
                    time.sleep(PATIENCE)
        except KeyboardInterrupt:
            self._stop()
        finally:
            signal.signal(signal.SIGTERM, before)
        return self.tally

    def _next(self, queue: Iterator[Planned]) -> bool:
        """Deal with one more run; False where there is none."""
        run = next(queue, None)
        if run is not None:
            self._take(run)
        return run is not None

    def _again(self) -> bool:
        """Look once more at runs that were somebody else's, when there is nothing better to do."""
        time.sleep(WAIT)
        for _ in range(len(self._busy)):
            self._take(self._busy.popleft())
        return False

    def _take(self, run: Planned) -> None:
        where = state(run)
        if where == "finished":
            self.tally.finished.append(run)
            self._show.found(run)
            self._ended(run)
        elif where == "refused":
            self._failed(run, run.refused)
        elif where == "busy":
            self._busy.append(run)
        else:
            self._start(run, resume=where == "unfinished")

    def _start(self, run: Planned, *, resume: bool) -> None:
        slot = next(i for i in range(len(self._cores)) if i not in {active.slot for active in self._active})
        log = run.runs_dir / "sweeps" / self._name / f"{run.key}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        words = [*run.command, *(["resume=true"] if resume else [])]
        cores = ",".join(map(str, self._cores[slot]))
        with log.open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, "-S", "-E", child_process.__file__, str(os.getpid()), cores, *words],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                env=environment(self._name),
            )
        self._active.append(Running(run, process, log, slot))
        self.tally.started += 1
        self._show.started(run, resume)

    def _reap(self) -> None:
        """Notice what has ended."""
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
                self._failed(active.run, reason(active.log, status))

    def _failed(self, run: Planned, why: str) -> None:
        self.tally.failed[" ".join(run.command)] = why
        self._show.failed(run, why)
        path = run.runs_dir / "sweeps" / self._name / "failed.json"
        atomic_write_text(path, json.dumps(self.tally.failed, indent=1) + "\n")

    def _stop(self) -> None:
        """Interrupted: each run ends after its round, as it does when it is interrupted itself."""
        self.tally.interrupted = True
        self._show.stopping(len(self._active))
        for active in self._active:
            active.process.send_signal(signal.SIGINT)
        try:
            for active in self._active:
                active.process.wait()
        except KeyboardInterrupt:  # twice: at once
            for active in self._active:
                active.process.kill()
                active.process.wait()


def environment(group: str) -> dict[str, str]:
    """A run's environment: W&B offline, in one group, and this Python as ``python``."""
    python = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "WANDB_MODE": "offline",
        "WANDB_RUN_GROUP": group,
        "PATH": os.pathsep.join([python, os.environ.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
    }


def reason(log: Path, status: int) -> str:
    """Why a run failed: its last line, or what ended it."""
    if status < 0:
        return f"killed by {signal.Signals(-status).name}; it goes on when the sweep is started again"
    if status == INTERRUPTED:
        return "interrupted; it goes on when the sweep is started again"
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else f"exit status {status}"


def _as_interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt
