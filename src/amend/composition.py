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
    if any(word.startswith(("+", "~")) for word in chosen):  # what is added or taken away depends on what came before
        return copy.deepcopy(_whole(tuple(words)))
    cfg = copy.deepcopy(_whole(chosen))
    overrides = OverridesParser.create().parse_overrides(values)
    try:
        for override in overrides:
            if override.is_sweep_override():
                return _whole(tuple(words))
            OmegaConf.update(cfg, override.key_or_group, override.value(), merge=True)
    except OmegaConfBaseException:
        return _whole(tuple(words))  # which raises as well, in Hydra's words
    return cfg


def _sets_a_value(word: str) -> bool:
    key = re.match(r"([A-Za-z_]\w*(?:\.\w+)*)=", word)
    return key is not None and not key[1].startswith("hydra.") and not (conf() / key[1]).is_dir()


@cache
def _whole(words: tuple[str, ...]) -> DictConfig:
    """As Hydra composes it; shared, so not to be changed."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf()), version_base="1.3"):
        return compose("config", overrides=list(words))
