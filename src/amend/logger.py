"""Where a run can be watched beside its own folder: W&B (offline by default, or online), trackio, CSV, or nowhere.

metrics.jsonl, episodes.parquet and summary.json are written whatever is chosen here, and nothing is ever read back from
a logger. So logging never breaks a run: what goes wrong is said once, counted (``Logger.errors``), and the run goes on.
All W&B runs under one ``runs_dir`` share its wandb/ folder, so ``wandb leet runs/wandb`` shows them side by side.
"""

from __future__ import annotations

import contextlib
import csv
import importlib
import io
import json
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


class Trackio(Logger):
    """A local database that ``trackio show`` browses; it lies in <runs_dir>/.trackio. An optional extra."""

    def __init__(self, folder: Path, config: Mapping[str, Any], *, project: str, group: str | None) -> None:
        super().__init__()
        self._library: Any = None
        self._try(self._start, folder, config, project, group)

    def _start(self, folder: Path, config: Mapping[str, Any], project: str, group: str | None) -> None:
        os.environ.setdefault("TRACKIO_DIR", str(Path(str(config["runs_dir"])).absolute() / ".trackio"))
        library = importlib.import_module("trackio")
        with contextlib.redirect_stdout(io.StringIO()):  # it prints how to open its dashboard; the README says so
            library.init(
                project=project,
                name="/".join(folder.parts[-3:]),
                group=group,
                config={**config, "versions": stamp(folder)},
                resume="allow",
                embed=False,
            )
        self._library = library

    def _log(self, row: Mapping[str, Any], step: int) -> None:
        if self._library is not None:
            self._library.log(dict(row), step=step)

    def _table(self, name: str, columns: Columns) -> None:
        if self._library is not None:
            rows = [list(row) for row in list(zip(*columns.values(), strict=True))[:SHOWN]]
            self._library.log({name: self._library.Table(columns=list(columns), data=rows)})

    def _finish(self, summary: Mapping[str, Any]) -> None:
        if self._library is not None:
            with contextlib.redirect_stdout(io.StringIO()):
                self._library.log({f"summary/{name}": value for name, value in numbers(summary).items()})
                self._library.finish()


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


def make(cfg: DictConfig, folder: Path) -> Logger:
    """The logger that the configuration names, for the run in ``folder``."""
    config = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(config, dict)
    plain = {str(key): value for key, value in config.items()}
    knobs = {key: value for key, value in plain["logger"].items() if key != "name"}
    kind = globals()[component("logger", plain["logger"]["name"])[1]]
    if issubclass(kind, Wandb | Trackio):
        made: Logger = kind(folder, plain, **knobs)
    else:
        made = kind(folder, **knobs) if kind is Csv else kind(**knobs)
    return made
