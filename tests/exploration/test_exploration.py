"""Every choice in the four groups' folders is a class of its file, which its keys build."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from amend.components import build
from amend.config.compose import config_dir
from amend.exploration import Curriculum, Entropy, Exploration, PrefillStrategy, Temperature

GROUPS = {"temperature": Temperature, "curriculum": Curriculum, "prefill": PrefillStrategy, "entropy": Entropy}
CHOICES = [(group, path.stem) for group in GROUPS for path in sorted((config_dir() / group).glob("*.yaml"))]


def built(group: str, choice: str) -> Any:
    """The object behind ``group=choice``: found by its name, built from its other keys."""
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        node: Any = OmegaConf.to_container(compose(f"{group}/{choice}"), resolve=True)
    return build(node[group])


@pytest.mark.parametrize(("group", "choice"), CHOICES, ids=map("=".join, CHOICES))
def test_every_choice_is_built_from_its_file(group: str, choice: str) -> None:
    assert isinstance(built(group, choice), GROUPS[group])


@pytest.mark.parametrize(("group", "choice"), CHOICES, ids=map("=".join, CHOICES))
def test_every_file_opens_with_its_command(group: str, choice: str) -> None:
    first = Path(config_dir() / group / f"{choice}.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# python run.py ") and f"{group}={choice}" in first.split()


def test_one_of_each_is_what_an_algorithm_is_handed() -> None:
    handed = Exploration(*(built(*choice) for choice in zip(GROUPS, ("constant", "uniform", "none", "none"))))
    assert handed._fields == tuple(GROUPS)
    assert handed.temperature(0, 0.0) == 1.0
