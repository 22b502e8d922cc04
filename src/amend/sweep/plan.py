"""Find the folder and the state of each run of a sweep. The hash of the configuration names the folder of a run.

    finished     the run has ended and is not started again
    unfinished   the run was killed or interrupted; it continues from its last checkpoint (resume=true)
    busy         a live process has locked the folder of the run
    new          the run has not started
    refused      the configuration is invalid; `Planned.refused` has the reason

Two combinations with the same configuration are one run. This also holds across sweeps, so a table and a figure that
need the same run share it.
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
    """One run of a sweep, before it is started.

    Attributes:
        parameters: The parameters of the run, by name.
        command: The whole command line.
        words: The overrides among the words of ``command``.
        base: Path of the first folder of the run; later folders have a number as suffix.
        runs_dir: The folder of all runs.
        refused: Why the configuration is invalid; empty if it is valid.
    """

    parameters: Parameters
    command: tuple[str, ...]
    words: tuple[str, ...]
    base: Path
    runs_dir: Path
    refused: str = ""

    @property
    def label(self) -> str:
        """Return the parameters in one line."""
        return " ".join(f"{key}={value}" for key, value in self.parameters.items())

    @property
    def key(self) -> str:
        """Return the algorithm, hash and seed: a name for the files of the run."""
        return f"{self.base.parent.name}-{self.base.name}"


class Plans:
    """Plan runs from their parameters.

    Args:
        sweep: The sweep.
        scale: The scale that replaces the sweep's own; empty for no change.
        more: Overrides to add to every run.
    """

    def __init__(self, sweep: Sweep, scale: str, more: Sequence[str]) -> None:
        self._sweep, self._scale, self._more = sweep, scale, list(more)

    def __call__(self, parameters: Parameters) -> Planned:
        """Return the run with these parameters; an invalid configuration is stored in ``Planned.refused``."""
        words = command_line(self._sweep, parameters)
        changes = overrides(self._sweep, words)
        start = words[: len(words) - len(changes)]
        changes = [*(resized(changes, self._scale) if self._scale else changes), *self._more]
        unseeded = tuple(word for word in changes if not word.startswith("seed="))
        seed = next((word.removeprefix("seed=") for word in reversed(changes) if word.startswith("seed=")), "0")
        cfg = checked(unseeded)
        command = (*start, *changes)
        if isinstance(cfg, str):
            return Planned(parameters, command, tuple(changes), Path("refused"), Path("runs"), cfg)
        base = run_path(cfg).with_name(f"{config_hash(cfg)}-s{seed}")
        return Planned(parameters, command, tuple(changes), base, Path(cfg.runs_dir))


@cache
def checked(words: tuple[str, ...]) -> DictConfig | str:
    """Return the checked configuration of a command line, or the reason why it is invalid.

    All seeds share the returned configuration, so it must not be modified.
    """
    try:
        cfg = compose_config(words)
        validate_config(cfg)
    except UserError as error:
        return " ".join(str(error).split())
    except Exception as error:  # fallback: Hydra raises exceptions of many classes; report each in one line
        return describe_hydra_error(error)
    return cfg


def once(runs: Iterable[Planned]) -> list[Planned]:
    """Return each run once, in the order of its first appearance."""
    return list({(run.base if not run.refused else run.command): run for run in reversed(list(runs))}.values())[::-1]


def state(run: Planned) -> str:
    """Return the state of a run: finished | unfinished | busy | new | refused."""
    if run.refused:
        return "refused"
    if latest_finished(run.base):
        return "finished"
    folders = existing_runs(run.base)
    if any(_is_locked(path) for path in folders):
        return "busy"
    return "unfinished" if folders else "new"


def _is_locked(path: Path) -> bool:
    """Return whether a live process has locked the folder."""
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
    """Return the value at a dotted path, such as ``trained.delta.mean``, of a summary; None if it is missing."""
    for part in path.split("."):
        if not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    return value
