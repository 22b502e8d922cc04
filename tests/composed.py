"""The configuration that a command line would give, checked, without running anything."""

from __future__ import annotations

import copy
from functools import cache

from omegaconf import DictConfig

from amend import composition
from amend.config import check, conf


def composed(*overrides: str) -> DictConfig:
    """What ``python run.py OVERRIDES`` would run."""
    return copy.deepcopy(_checked(overrides))


@cache
def _checked(overrides: tuple[str, ...]) -> DictConfig:
    cfg = composition.composed(overrides)
    check(cfg)
    return cfg


ALGORITHMS = sorted(path.stem for path in (conf() / "algo").glob("*.yaml"))


def _kinds() -> tuple[list[str], list[str], list[str]]:
    """Algorithms that learn from each round, those that gather and then imitate, and those that only ask."""
    online, imitating, prompting = [], [], []
    for name in ALGORITHMS:
        algo = composed(f"algo={name}").algo
        (prompting if "rounds" not in algo else imitating if "iterations" in algo else online).append(name)
    return online, imitating, prompting


ONLINE, IMITATING, PROMPTING = _kinds()
TRAINED = sorted(ONLINE + IMITATING)
