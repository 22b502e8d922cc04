"""Expand shorthands of the command line, and build the command that reproduces a run."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from amend.config.compose import config_dir


def expand_policy_shorthand(words: list[str]) -> list[str]:
    """Replace ``policy=FOLDER`` and ``policy=owner/model`` with ``policy=hf policy.path=...``."""
    expanded: list[str] = []
    for word in words:
        key, _, value = word.partition("=")
        is_choice = "/" not in value and (
            (config_dir() / "policy" / f"{value}.yaml").is_file() or not Path(value).is_dir()
        )
        is_path = key == "policy" and value and "," not in value and not is_choice
        expanded += ["policy=hf", f"policy.path={value}"] if is_path else [word]
    return expanded


def reproduce_command(cfg: DictConfig) -> str:
    """Return the command that repeats this run: the one that started it, without ``resume``."""
    program = ["amend"] if Path(sys.argv[0]).name == "amend" else ["python", "run.py"]
    return shlex.join([*program, *(word for word in task_overrides() if not word.lstrip("+").startswith("resume="))])


def task_overrides() -> list[str]:
    """Return the overrides of this run; with ``-m``, these differ between the runs of one command."""
    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
