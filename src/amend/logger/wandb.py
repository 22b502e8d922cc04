"""Log a run to Weights & Biases, offline or online."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from amend.logger.base import MAX_TABLE_ROWS, Columns, Logger, read_provenance


class Wandb(Logger):
    """Log to a W&B run; the environment variable WANDB_MODE selects online or offline.

    The run folder has the id of the W&B run, so a resumed run continues the same W&B run. If a W&B sweep agent started
    this process, the logger uses the run of the agent.

    Args:
        folder: The run folder.
        config: The resolved configuration of the run.
        project: Name of the W&B project.
        group: Group of the run; None for the value of WANDB_RUN_GROUP, if it is set.
        tags: Tags of the run.
    """

    mode: str | None = None
    """The W&B mode, "online" or "offline"; None for the value of WANDB_MODE."""

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
        for kind in ("data", "cache", "artifact"):  # by default, W&B copies every table to the home directory
            os.environ.setdefault(f"WANDB_{kind.upper()}_DIR", str(runs_dir / ".wandb-cache" / kind))
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb

        id_file = folder / ".wandb-id"
        is_resumed = id_file.exists()
        if not is_resumed:
            agent_id = os.environ.get("WANDB_RUN_ID") if self.mode is None else None  # set by a sweep agent
            id_file.write_text(agent_id or uuid.uuid4().hex[:10], encoding="ascii")
        self._run = wandb.init(
            project=project,
            group=group,
            tags=tags,
            dir=runs_dir,
            id=id_file.read_text(encoding="ascii"),
            name="/".join(folder.parts[-3:]),
            config={**config, "versions": read_provenance(folder)},
            mode=self.mode,  # type: ignore[arg-type]
            resume="allow"
            if is_resumed and (self.mode or os.environ.get("WANDB_MODE", "online")) == "online"
            else None,
            reinit="finish_previous",  # Hydra's multirun (-m) has several runs in one process
            settings=wandb.Settings(console="off", x_disable_stats=True, silent=True, disable_git=True),
        )

    def _log(self, row: Mapping[str, Any], step: int) -> None:
        if self._run is not None:
            self._run.log(dict(row), step=step)

    def _table(self, name: str, columns: Columns) -> None:
        if self._run is not None:
            import wandb

            rows = list(zip(*columns.values(), strict=True))[:MAX_TABLE_ROWS]
            self._run.log({name: wandb.Table(columns=list(columns), data=[list(row) for row in rows])})

    def _figures(self, charts: Mapping[str, str]) -> None:
        if self._run is not None:
            import wandb

            self._run.log({f"figures/{name}": wandb.Html(svg, inject=False) for name, svg in charts.items()})

    def _finish(self, summary: Mapping[str, Any]) -> None:
        if self._run is not None:
            self._run.summary.update(dict(summary))
            self._run.finish()


class WandbOffline(Wandb):
    """Log to local W&B files, without network or account. ``wandb leet`` shows them, ``wandb sync`` uploads them."""

    mode = "offline"


class WandbOnline(Wandb):
    """Log to the W&B server that the user is logged in to."""

    mode = "online"
