"""How far a sweep has come: a bar where there is a terminal, a line for each run where there is none."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from amend.sweep.plan import Planned


class SweepProgress:
    """Counts, and says what happens. A context manager; ``total`` may be unknown (None)."""

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
        """It was finished before."""
        self._count("finished before", run, "")

    def started(self, run: Planned, resumed: bool) -> None:
        """A process runs it now."""
        self._say(f"{'goes on' if resumed else 'begins'}: {run.label}")

    def finished(self, run: Planned, seconds: float) -> None:
        """It has come to its end."""
        self._ran += 1
        self._count("finished", run, f" ({seconds:.0f} s)")

    def failed(self, run: Planned, why: str) -> None:
        """It has not, and why."""
        self._failures += 1
        self._count("failed", run, f": {why}")

    def stopping(self, active: int) -> None:
        """Interrupted."""
        self._say(f"interrupted: {active} running end after their round; the same command goes on")

    def _count(self, what: str, run: Planned, more: str) -> None:
        self._done += 1
        left = self._left()
        total = "?" if self._total is None else self._total
        self._say(f"[{self._done}/{total}] {what}: {run.label}{more}{'' if self._bar.disable is False else left}")
        self._bar.update(self._task, advance=1, left=f"{self._failures} failed{left}" if self._failures else left)

    def _left(self) -> str:
        """An estimate from the runs that have ended here."""
        if not self._ran or self._total is None or self._done >= self._total:
            return ""
        minutes = (time.perf_counter() - self._began) / 60 / self._ran * (self._total - self._done)
        return f", about {minutes:.0f} min left" if minutes >= 1 else ", less than a minute left"

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
