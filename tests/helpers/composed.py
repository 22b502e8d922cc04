"""The configuration that a command line would give, checked, without running anything."""

from __future__ import annotations

import copy
from functools import cache

from omegaconf import DictConfig

from amend.config import compose
from amend.config.compose import config_dir
from amend.config.validate import validate_config


def composed(*overrides: str) -> DictConfig:
    """What ``python run.py OVERRIDES`` would run."""
    return copy.deepcopy(_checked(overrides))


@cache
def _checked(overrides: tuple[str, ...]) -> DictConfig:
    cfg = compose.compose_config(overrides)
    validate_config(cfg)
    return cfg


ALGORITHMS = sorted(path.stem for path in (config_dir() / "algo").glob("*.yaml"))


def _kinds() -> tuple[list[str], list[str], list[str]]:
    """Algorithms that learn from each round, those that gather and then imitate, and those that only ask."""
    online, imitating, prompting = [], [], []
    for name in ALGORITHMS:
        algo = composed(f"algo={name}").algo
        (prompting if "num_iterations" not in algo else imitating if "iterations" in algo else online).append(name)
    return online, imitating, prompting


ONLINE, IMITATING, PROMPTING = _kinds()
TRAINED = sorted(ONLINE + IMITATING)
