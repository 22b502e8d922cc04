"""The base class of loggers. A logger never breaks a run: its errors are counted, and the first one is logged."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)
SHOWN = 200  # transcripts in the table that goes to W&B; episodes.parquet has them all

Columns = Mapping[str, Sequence[Any]]


class Logger:
    """What every logger does; a subclass says how in ``_log``, ``_table`` and ``_finish``."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self.errors = 0

    def log(self, row: Mapping[str, Any], step: int) -> None:
        """The figures of one round; ``step`` counts rounds from 1."""
        self._try(self._log, row, step)

    def table(self, name: str, columns: Columns) -> None:
        """A table of transcripts, its first rows."""
        self._try(self._table, name, columns)

    def figures(self, pictures: Mapping[str, str]) -> None:
        """The run's charts, by name, each a whole SVG file's text."""
        self._try(self._figures, pictures)

    def finish(self, summary: Mapping[str, Any], columns: Columns) -> None:
        """The final figures and transcripts; nothing can be logged after."""
        if columns:
            self.table("episodes", columns)
        self._try(self._finish, summary)

    def _try(self, action: Any, *args: Any) -> None:
        try:
            action(*args)
        except Exception as error:  # whatever a tracker raises: it is said and counted, and the run goes on
            self.errors += 1
            if self.errors == 1:
                reason = " ".join(str(error).split())[:160]
                log.warning("logging failed and the run goes on without it: %s: %s", type(error).__name__, reason)

    def _log(self, row: Mapping[str, Any], step: int) -> None: ...

    def _table(self, name: str, columns: Columns) -> None: ...

    def _figures(self, pictures: Mapping[str, str]) -> None: ...

    def _finish(self, summary: Mapping[str, Any]) -> None: ...


class NoLogger(Logger):
    """Nothing beside the run folder."""


def stamp(folder: Path) -> dict[str, Any]:
    """What ran: the commit, the lockfile's hash, Python and the command, as the run folder has them."""
    try:
        found = json.loads((folder / "versions.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {key: found.get(key) for key in ("commit", "lockfile", "python", "command")}


def numbers(value: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Every number of a nested mapping, by its dotted key."""
    flat: dict[str, float] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            flat |= numbers(item, f"{prefix}{key}.")
        elif isinstance(item, int | float) and not isinstance(item, bool):
            flat[f"{prefix}{key}"] = item
    return flat
