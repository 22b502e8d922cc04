"""Every choice in the four groups' folders is a class of its file, which its keys build."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from amend.config import conf
from amend.explore import Curriculum, Entropy, Explore, Start, Temperature

GROUPS = {"temperature": Temperature, "curriculum": Curriculum, "start": Start, "entropy": Entropy}
CHOICES = [(group, path.stem) for group in GROUPS for path in sorted((conf() / group).glob("*.yaml"))]


def built(group: str, choice: str) -> Any:
    """The object behind ``group=choice``: found by its name, built from its other keys."""
    with initialize_config_dir(str(conf()), version_base="1.3"):
        node: Any = OmegaConf.to_container(compose(f"{group}/{choice}"), resolve=True)
    values = dict(node[group])
    spelt = values.pop("name").replace("_", "")
    module = importlib.import_module(f"amend.explore.{group}")
    (found,) = (value for name, value in vars(module).items() if name.lower() == spelt and isinstance(value, type))
    return found(**values)


@pytest.mark.parametrize(("group", "choice"), CHOICES, ids=map("=".join, CHOICES))
def test_every_choice_is_built_from_its_file(group: str, choice: str) -> None:
    assert isinstance(built(group, choice), GROUPS[group])


@pytest.mark.parametrize(("group", "choice"), CHOICES, ids=map("=".join, CHOICES))
def test_every_file_opens_with_its_command(group: str, choice: str) -> None:
    first = Path(conf() / group / f"{choice}.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# python run.py ") and f"{group}={choice}" in first.split()


def test_one_of_each_is_what_an_algorithm_is_handed() -> None:
    handed = Explore(*(built(*choice) for choice in zip(GROUPS, ("constant", "uniform", "fresh", "nothing"))))
    assert handed._fields == tuple(GROUPS)
    assert handed.temperature(0, 0.0) == 1.0
