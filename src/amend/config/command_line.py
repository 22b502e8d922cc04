"""The command line as typed: shorthands that are expanded, and the command that reproduces a run."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from amend.config.compose import config_dir


def expand_policy_shorthand(words: list[str]) -> list[str]:
    """The command line, with ``policy=FOLDER`` and ``policy=owner/model`` written out: policy=hf and its path."""
    long: list[str] = []
    for word in words:
        key, _, value = word.partition("=")
        known = "/" not in value and ((config_dir() / "policy" / f"{value}.yaml").is_file() or not Path(value).is_dir())
        foreign = key == "policy" and value and "," not in value and not known
        long += ["policy=hf", f"policy.path={value}"] if foreign else [word]
    return long


def reproduce_command(cfg: DictConfig) -> str:
    """The command that started this run, without ``resume``: what to type to have it again."""
    program = ["amend"] if Path(sys.argv[0]).name == "amend" else ["python", "run.py"]
    return shlex.join([*program, *(word for word in task_overrides() if not word.lstrip("+").startswith("resume="))])


def task_overrides() -> list[str]:
    """This run's own words on the command line; with ``-m``, those of this one of several runs."""
    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []
