"""Log a run to a local trackio database, which ``trackio show`` displays."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amend.logger.base import MAX_TABLE_ROWS, Columns, Logger, flatten_numbers, read_provenance


class Trackio(Logger):
    """Log to the trackio database in <runs_dir>/.trackio. This needs ``pip install "amend[trackio]"``.

    Args:
        folder: The run folder.
        config: The resolved configuration of the run.
        project: Name of the trackio project.
        group: Group of the run; None for no group.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any], *, project: str, group: str | None) -> None:
        super().__init__(folder, config)
        self._library: Any = None
        self._try(self._start, folder, config, project, group)

    def _start(self, folder: Path, config: Mapping[str, Any], project: str, group: str | None) -> None:
        os.environ.setdefault("TRACKIO_DIR", str(Path(str(config["runs_dir"])).absolute() / ".trackio"))
        library = importlib.import_module("trackio")
        with contextlib.redirect_stdout(io.StringIO()):  # trackio prints instructions for its dashboard
            library.init(
                project=project,
                name="/".join(folder.parts[-3:]),
                group=group,
                config={**config, "versions": read_provenance(folder)},
                resume="allow",
                embed=False,
            )
        self._library = library

    def _log(self, row: Mapping[str, Any], step: int) -> None:
        if self._library is not None:
            self._library.log(dict(row), step=step)

    def _table(self, name: str, columns: Columns) -> None:
        if self._library is not None:
            rows = [list(row) for row in list(zip(*columns.values(), strict=True))[:MAX_TABLE_ROWS]]
            self._library.log({name: self._library.Table(columns=list(columns), data=rows)})

    def _finish(self, summary: Mapping[str, Any]) -> None:
        if self._library is not None:
            with contextlib.redirect_stdout(io.StringIO()):
                self._library.log({f"summary/{name}": value for name, value in flatten_numbers(summary).items()})
                self._library.finish()
