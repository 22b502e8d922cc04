"""Write the metrics of each iteration to metrics.csv in the run folder."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amend.logger.base import Logger


class Csv(Logger):
    """Append one row to metrics.csv for each iteration.

    A metric that is first measured in a later iteration becomes a new column. The file is then rewritten, and the new
    column is empty in earlier rows.

    Args:
        folder: The run folder.
        config: The resolved configuration of the run.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        super().__init__(folder, config)
        self._path = folder / "metrics.csv"
        self._columns: list[str] = []
        self._last_step = 0

    def _log(self, row: Mapping[str, Any], step: int) -> None:
        if step == 1 or not self._columns or step <= self._last_step or not set(row) <= set(self._columns):
            self._rewrite(self._read_rows(before=step), {"step": step, **row})
        else:
            with self._path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self._columns, restval="").writerow({"step": step, **row})
        self._last_step = step

    def _read_rows(self, before: int) -> list[dict[str, str]]:
        """Read the rows of earlier iterations; a resumed run replaces the rows that follow its checkpoint."""
        if before == 1 or not self._path.exists():
            return []
        with self._path.open(newline="", encoding="utf-8") as file:
            return [row for row in csv.DictReader(file) if (row["step"] or "").isdigit() and int(row["step"]) < before]

    def _rewrite(self, earlier: list[dict[str, str]], row: Mapping[str, Any]) -> None:
        """Write the file again, with the columns of earlier rows and of the new row."""
        self._columns = list(dict.fromkeys([*(earlier[-1] if earlier else ["step"]), *row]))
        with self._path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns, restval="")
            writer.writeheader()
            writer.writerows([*earlier, row])
