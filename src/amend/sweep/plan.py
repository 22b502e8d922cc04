"""The runs of a sweep, and where each of them stands: a run's folder is named by the hash of its configuration.

    finished     its folder says so: never run again
    unfinished   killed or interrupted: goes on from its last checkpoint (resume=true)
    busy         a live process, of this sweep or another, holds its folder
    new          has not begun
    refused      its configuration cannot be; the reason stands where others have their folder

Two combinations with one configuration are one run, and so are two sweeps': a table and a figure that need the same
run share it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from amend.config.compose import compose_config
from amend.config.hydra_errors import describe_hydra_error
from amend.config.validate import validate_config
from amend.errors import UserError
from amend.results.run_folder.naming import LOCK, config_hash, existing_runs, latest_finished, run_path
from amend.sweep.command import command_line, overrides, resized
from amend.sweep.spec import Parameters, Sweep


@dataclass(frozen=True)
class Planned:
    """One run: its parameters, its whole command line, and the folder it would have (or why it cannot be)."""

    parameters: Parameters
    command: tuple[str, ...]
    words: tuple[str, ...]  # what Hydra is given of it
    base: Path
    runs_dir: Path
    refused: str = ""

    @property
    def label(self) -> str:
        """What it is called where there is room for a line."""
        return " ".join(f"{key}={value}" for key, value in self.parameters.items())

    @property
    def key(self) -> str:
        """Algorithm, hash and seed: a name for its files."""
        return f"{self.base.parent.name}-{self.base.name}"


class Plans:
    """Command lines into planned runs."""

    def __init__(self, sweep: Sweep, scale: str, more: Sequence[str]) -> None:
        self._sweep, self._scale, self._more = sweep, scale, list(more)

    def __call__(self, parameters: Parameters) -> Planned:
        """The run with these parameters."""
        words = command_line(self._sweep, parameters)
        given = overrides(self._sweep, words)
        start = words[: len(words) - len(given)]
        given = [*(resized(given, self._scale) if self._scale else given), *self._more]
        unseeded = tuple(word for word in given if not word.startswith("seed="))
        seed = next((word.removeprefix("seed=") for word in reversed(given) if word.startswith("seed=")), "0")
        cfg = checked(unseeded)
        command = (*start, *given)
        if isinstance(cfg, str):
            return Planned(parameters, command, tuple(given), Path("refused"), Path("runs"), cfg)
        base = run_path(cfg).with_name(f"{config_hash(cfg)}-s{seed}")
        return Planned(parameters, command, tuple(given), base, Path(cfg.runs_dir))


@cache
def checked(words: tuple[str, ...]) -> DictConfig | str:
    """The checked configuration of a command line, or why there is none. Shared by all seeds: not to be changed."""
    try:
        cfg = compose_config(words)
        validate_config(cfg)
    except UserError as error:
        return " ".join(str(error).split())
    except Exception as error:  # Hydra's, in its own many words
        return describe_hydra_error(error)
    return cfg


def once(runs: Iterable[Planned]) -> list[Planned]:
    """Each run once, in the order of its first appearance."""
    return list({(run.base if not run.refused else run.command): run for run in reversed(list(runs))}.values())[::-1]


def state(run: Planned) -> str:
    """finished | unfinished | busy | new | refused."""
    if run.refused:
        return "refused"
    if latest_finished(run.base):
        return "finished"
    here = existing_runs(run.base)
    if any(_held(path) for path in here):
        return "busy"
    return "unfinished" if here else "new"


def _held(path: Path) -> bool:
    """Whether a live process holds the folder's lock."""
    try:
        lock = os.open(path / LOCK, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def looked_up(value: Any, path: str) -> Any:
    """``trained.delta.mean`` in a summary; None where it is not there."""
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    return value
