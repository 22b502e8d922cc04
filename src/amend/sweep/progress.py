"""Print the progress of a sweep: a bar on a terminal, else one line per run."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from amend.sweep.plan import Planned


class SweepProgress:
    """Count the runs of a sweep and print what happens to them. Use it as a context manager.

    Args:
        title: Name of the sweep.
        total: Number of runs; None if it is unknown.
        jobs: Number of runs at a time.
        console: Where to print.
    """

    def __init__(self, title: str, total: int | None, jobs: int, console: Console) -> None:
        self._total, self._jobs, self._console = total, jobs, console
        self._done, self._ran, self._failures, self._began = 0, 0, 0, time.perf_counter()
        columns = (
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.fields[all]}"),
            TimeElapsedColumn(), TextColumn("{task.fields[left]}"),
        )  # fmt: skip
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._bar.add_task(title, total=total, all="?" if total is None else total, left="")

    def __enter__(self) -> SweepProgress:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def found(self, run: Planned) -> None:
        """Report a run that was finished before this sweep started."""
        self._count("finished before", run, "")

    def started(self, run: Planned, resumed: bool) -> None:
        """Report that a run has started or resumed."""
        self._say(f"{'resumes' if resumed else 'starts'}: {run.label}")

    def finished(self, run: Planned, seconds: float) -> None:
        """Report that a run has finished after ``seconds``."""
        self._ran += 1
        self._count("finished", run, f" ({seconds:.0f} s)")

    def failed(self, run: Planned, reason: str) -> None:
        """Report that a run has failed, and why."""
        self._failures += 1
        self._count("failed", run, f": {reason}")

    def stopping(self, active: int) -> None:
        """Report an interrupt while ``active`` runs are under way."""
        self._say(
            f"interrupted: {active} active runs stop after their current iteration; the same command continues them"
        )

    def _count(self, what: str, run: Planned, more: str) -> None:
        self._done += 1
        left = self._left()
        total = "?" if self._total is None else self._total
        self._say(f"[{self._done}/{total}] {what}: {run.label}{more}{'' if self._bar.disable is False else left}")
        self._bar.update(self._task, advance=1, left=f"{self._failures} failed{left}" if self._failures else left)

    def _left(self) -> str:
        """Return the estimated remaining time as text, from the runs that this process has finished."""
        if not self._ran or self._total is None or self._done >= self._total:
            return ""
        minutes = (time.perf_counter() - self._began) / 60 / self._ran * (self._total - self._done)
        return f", about {minutes:.0f} min left" if minutes >= 1 else ", less than a minute left"

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
