"""What a command line would run, without running it: for a sweep's plan, a comparison and the tests, which ask often.

Hydra takes a quarter of a second to find, read and merge conf/'s files, and a few milliseconds to set values in what
comes of it. Runs of one sweep differ in values more than in files, so each choice of files is composed once.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from functools import cache

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from amend.config import conf


def composed(words: Sequence[str]) -> DictConfig:
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
    return key is not None and not key[1].startswith("hydra.") and not (conf() / key[1]).is_dir()


@cache
def _whole(words: tuple[str, ...]) -> DictConfig:
    """As Hydra composes it; shared, so not to be changed."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf()), version_base="1.3"):
        return compose("config", overrides=list(words))
