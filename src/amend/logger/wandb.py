"""Log a run to Weights & Biases, offline by default."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amend.logger.base import SHOWN, Columns, Logger, stamp


class Wandb(Logger):
    """A W&B run, online or offline as WANDB_MODE says: an agent's run is that agent's, a local one needs no account.

    Its id is kept in the run folder, so that a resumed run is the same run there too.
    """

    mode: str | None = None

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any],
        *,
        project: str,
        group: str | None,
        tags: list[str],
    ) -> None:
        super().__init__(folder, config)
        runs_dir = Path(str(config["runs_dir"])).absolute()
        self._run: Any = None
        self._try(self._start, folder, config, runs_dir, project, group, tags)

    def _start(
        self,
        folder: Path,
        config: Mapping[str, Any],
        runs_dir: Path,
        project: str,
        group: str | None,
        tags: list[str],
    ) -> None:
        for place in ("data", "cache", "artifact"):  # else every table is copied to the home disk
            os.environ.setdefault(f"WANDB_{place.upper()}_DIR", str(runs_dir / ".wandb-cache" / place))
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb

        kept = folder / ".wandb-id"
        known = kept.exists()
        if not known:
            given = os.environ.get("WANDB_RUN_ID") if self.mode is None else None  # an agent's
            kept.write_text(given or uuid.uuid4().hex[:10], encoding="ascii")
        self._run = wandb.init(
            project=project,
            group=group,
            tags=tags,
            dir=runs_dir,
            id=kept.read_text(encoding="ascii"),
            name="/".join(folder.parts[-3:]),
            config={**config, "versions": stamp(folder)},
            mode=self.mode,  # type: ignore[arg-type]
            resume="allow" if known and (self.mode or os.environ.get("WANDB_MODE", "online")) == "online" else None,
            reinit="finish_previous",  # several runs in one process, as with -m
            settings=wandb.Settings(console="off", x_disable_stats=True, silent=True, disable_git=True),
        )

    def _log(self, row: Mapping[str, Any], step: int) -> None:
        if self._run is not None:
            self._run.log(dict(row), step=step)

    def _table(self, name: str, columns: Columns) -> None:
        if self._run is not None:
            import wandb

            rows = list(zip(*columns.values(), strict=True))[:SHOWN]
            self._run.log({name: wandb.Table(columns=list(columns), data=[list(row) for row in rows])})

    def _figures(self, pictures: Mapping[str, str]) -> None:
        if self._run is not None:
            import wandb

            self._run.log({f"figures/{name}": wandb.Html(svg, inject=False) for name, svg in pictures.items()})

    def _finish(self, summary: Mapping[str, Any]) -> None:
        if self._run is not None:
            self._run.summary.update(dict(summary))
            self._run.finish()


class WandbOffline(Wandb):
    """Files only: no network, no account. ``wandb leet`` browses them, ``wandb sync`` uploads them."""

    mode = "offline"


class WandbOnline(Wandb):
    """To the server that the user is logged in to."""

    mode = "online"
