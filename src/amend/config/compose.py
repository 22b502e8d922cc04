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
    """Compose the configuration of ``python run.py WORDS`` without checking it.

    Hydra's composition is slow, so this function composes each set of group choices once and then sets the values.

    Raises:
        HydraException: If Hydra cannot apply a word.
        OmegaConfBaseException: If OmegaConf cannot apply a word.
    """
    values = [word for word in words if _sets_value(word)]
    choices = tuple(word for word in words if not _sets_value(word))
    if not any(word.startswith(("+", "~")) for word in choices):  # their effect depends on the order of the words
        overrides = OverridesParser.create().parse_overrides(values)
        cfg = copy.deepcopy(_compose_with_hydra(choices))
        try:
            if not any(override.is_sweep_override() for override in overrides):
                for override in overrides:
                    OmegaConf.update(cfg, override.key_or_group, override.value(), merge=True)
                return cfg
        except OmegaConfBaseException:
            pass  # fallback: the call below lets Hydra report the invalid override
    return copy.deepcopy(_compose_with_hydra(tuple(words)))


def _sets_value(word: str) -> bool:
    key = re.match(r"([A-Za-z_]\w*(?:\.\w+)*)=", word)
    return key is not None and not key[1].startswith("hydra.") and not (config_dir() / key[1]).is_dir()


@cache
def _compose_with_hydra(words: tuple[str, ...]) -> DictConfig:
    """Compose with Hydra; the result is cached, so it must not be modified."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return compose("config", overrides=list(words))


def config_dir() -> Path:
    """Return the folder conf/ of the checkout, or its copy in the installed package."""
    checkout = PACKAGE.parents[1] / "conf"
    return checkout if (checkout / "config.yaml").is_file() else PACKAGE / "conf"
