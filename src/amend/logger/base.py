"""The base class of loggers. An error in a logger never stops a run: errors are counted and the first is reported."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)
MAX_TABLE_ROWS = 200  # rows of a table that are sent to a tracker; episodes.parquet has all rows

Columns = Mapping[str, Sequence[Any]]


class Logger:
    """Catch and count the errors of a tracker. A subclass overrides ``_log``, ``_table``, ``_figures`` and ``_finish``.

    Args:
        folder: The run folder.
        config: The resolved configuration of the run.

    Attributes:
        errors: Number of calls that have failed.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self.errors = 0

    def log(self, row: Mapping[str, Any], step: int) -> None:
        """Log the metrics of one iteration.

        Args:
            row: Metric names and values.
            step: Number of the iteration, from 1.
        """
        self._try(self._log, row, step)

    def table(self, name: str, columns: Columns) -> None:
        """Log the first rows of a table of episodes.

        Args:
            name: Name of the table.
            columns: The values of each column, all of the same length.
        """
        self._try(self._table, name, columns)

    def figures(self, charts: Mapping[str, str]) -> None:
        """Log the charts of the run.

        Args:
            charts: The text of an SVG file for each name.
        """
        self._try(self._figures, charts)

    def finish(self, summary: Mapping[str, Any], columns: Columns) -> None:
        """Log the final metrics and episodes, and close the tracker. Nothing can be logged afterwards.

        Args:
            summary: The content of summary.json.
            columns: The table of episodes; empty if there is none.
        """
        if columns:
            self.table("episodes", columns)
        self._try(self._finish, summary)

    def _try(self, action: Any, *args: Any) -> None:
        try:
            action(*args)
        except Exception as error:  # fallback: count the error and continue the run
            self.errors += 1
            if self.errors == 1:
                reason = " ".join(str(error).split())[:160]
                log.warning("logging failed; the run continues without it: %s: %s", type(error).__name__, reason)

    def _log(self, row: Mapping[str, Any], step: int) -> None: ...

    def _table(self, name: str, columns: Columns) -> None: ...

    def _figures(self, charts: Mapping[str, str]) -> None: ...

    def _finish(self, summary: Mapping[str, Any]) -> None: ...


class NoLogger(Logger):
    """A logger that logs nothing. The run folder still has all results."""


def read_provenance(folder: Path) -> dict[str, Any]:
    """Read the provenance of a run from its folder.

    Args:
        folder: The run folder.

    Returns:
        The commit, the hash of the lockfile, the Python version and the command; empty if versions.json is unreadable.
    """
    try:
        versions = json.loads((folder / "versions.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {key: versions.get(key) for key in ("commit", "lockfile", "python", "command")}


def flatten_numbers(value: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Flatten a nested mapping to its numbers.

    Args:
        value: A mapping with string keys.
        prefix: Text before each key of the result.

    Returns:
        The numbers by dotted key. Booleans and other values are left out.
    """
    flat: dict[str, float] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            flat |= flatten_numbers(item, f"{prefix}{key}.")
        elif isinstance(item, int | float) and not isinstance(item, bool):
            flat[f"{prefix}{key}"] = item
    return flat
