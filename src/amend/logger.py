"""Where a run can be watched beside its own folder: W&B (offline by default, or online), a CSV file, or nowhere.

metrics.jsonl, episodes.parquet and summary.json are written whatever is chosen here, and nothing is ever read back from
a logger. So logging never breaks a run: what goes wrong is said once, counted (``Logger.errors``), and the run goes on.
All W&B runs under one ``runs_dir`` share its wandb/ folder, so ``wandb leet runs/wandb`` shows them side by side.
"""

from __future__ import annotations

import csv
import logging
import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from amend.schema import component

log = logging.getLogger(__name__)
SHOWN = 200  # transcripts in the table that goes to W&B; episodes.parquet has them all

Columns = Mapping[str, Sequence[Any]]


class Logger:
    """What every logger does; a subclass says how in ``_log``, ``_table`` and ``_finish``."""

    def __init__(self) -> None:
        self.errors = 0

    def log(self, row: Mapping[str, Any], step: int) -> None:
        """The figures of one round; ``step`` counts rounds from 1."""
        self._try(self._log, row, step)

    def table(self, name: str, columns: Columns) -> None:
        """A table of transcripts, its first rows."""
        self._try(self._table, name, columns)

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

    def _finish(self, summary: Mapping[str, Any]) -> None: ...


class None_(Logger):  # noqa: N801 - None is taken
    """Nothing beside the run folder."""


class Csv(Logger):
    """metrics.csv in the run folder, one row a round; its columns are those of the first round."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._path = folder / "metrics.csv"

    def _log(self, row: Mapping[str, Any], step: int) -> None:
        kept: list[dict[str, Any]] = []
        if step == 1 or not self._path.exists():
            names = [name for name in ("round", *row) if name != "round" or "round" in row]
            names = list(dict.fromkeys(["step", *names]))
        else:
            with self._path.open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                names = list(reader.fieldnames or ["step", *row])
                kept = [old for old in reader if (old["step"] or "").isdigit() and int(old["step"]) < step]
        with self._path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names, extrasaction="ignore", restval="")
            writer.writeheader()
            writer.writerows([*kept, {"step": step, **row}])


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
        super().__init__()
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
            config=dict(config),
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


def make(cfg: DictConfig, folder: Path) -> Logger:
    """The logger that the configuration names, for the run in ``folder``."""
    config = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(config, dict)
    plain = {str(key): value for key, value in config.items()}
    knobs = {key: value for key, value in plain["logger"].items() if key != "name"}
    kind = globals()[component("logger", plain["logger"]["name"])[1]]
    if issubclass(kind, Wandb):
        made: Logger = kind(folder, plain, **knobs)
    else:
        made = kind(folder, **knobs) if kind is Csv else kind(**knobs)
    return made
