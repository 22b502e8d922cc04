"""Compose a configuration from conf/ with Hydra, and find the folder conf/."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from amend.config.schema import PACKAGE


def compose_config(words: Sequence[str]) -> DictConfig:
    """The configuration of ``python run.py WORDS``, not checked. Raises what Hydra raises where there is none."""
    values = [word for word in words if _sets_a_value(word)]
    chosen = tuple(word for word in words if not _sets_a_value(word))
    if not any(word.startswith(("+", "~")) for word in chosen):  # added or taken away: depends on what came before
        overrides = OverridesParser.create().parse_overrides(values)
        cfg = copy.deepcopy(_whole(chosen))
        try:
            if not any(override.is_sweep_override() for override in overrides):
                for override in overrides:
                    OmegaConf.update(cfg, override.key_or_group, override.value(), merge=True)
                return cfg
        except OmegaConfBaseException:
            pass  # what cannot be set Hydra refuses below, in its own words
    return copy.deepcopy(_whole(tuple(words)))


def _sets_a_value(word: str) -> bool:
    key = re.match(r"([A-Za-z_]\w*(?:\.\w+)*)=", word)
    return key is not None and not key[1].startswith("hydra.") and not (config_dir() / key[1]).is_dir()


@cache
def _whole(words: tuple[str, ...]) -> DictConfig:
    """As Hydra composes it; shared, so not to be changed."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("config", overrides=list(words))


def config_dir() -> Path:
    """The configuration: conf/ of the checkout this package runs from, or the copy in the installed package."""
    checkout = PACKAGE.parents[1] / "conf"
    return checkout if (checkout / "config.yaml").is_file() else PACKAGE / "conf"
