"""A configuration composed the quick way is the one Hydra makes of the same words, and so is what it refuses."""

from __future__ import annotations

import re

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from amend.config.compose import compose_config, config_dir

LINES = [
    [],
    ["algo=grpo", "task=identity", "seed=3"],
    ["algo.shaping_coef=3", "algo=score", "algo.shaping_coef=4"],  # the last word stands
    ["seed=1", "+task@task.tasks.words=gsm8k", "task=mixture"],
    ["algo.group_size=2", "temperature.value=[0.6,1.5]", "scale=smoke", "scale.num_iterations=3"],
    ["scale.num_iterations=3", "algo=star", "budget={sampled_tokens:5}"],
    ["runs_dir='a, b'", "algo.lr=1e-3", "checkpoint=null", "job=report", "runs=[a,'b*']"],
    ["reward.oracle.weight=0.5", "~reward.oracle"],
    ["+reward.format.weight=0.1"],
    ["orm.path=${runs_dir}/orm", "runs_dir=x"],
    ["hydra.verbose=true", "seed=2"],
]
REFUSED = [
    ["algo.aplha=3"],
    ["algo=scroe"],
    ["seed=1,2"],
    ["seed=1", "sede=2"],
    ["algo.shaping_coef=[1"],
    ["algo.shaping_coef.more=1"],
    ["+seed=3"],
    ["nowhere@algo=grpo"],
    ["seed"],
]


def hydras(words: list[str]) -> object:
    """What Hydra says to these words: a configuration with its interpolations as they stand, or an exception."""
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        try:
            return OmegaConf.to_container(compose("config", overrides=words))
        except Exception as error:
            return error


@pytest.mark.parametrize("words", LINES, ids=" ".join)
def test_it_is_hydras(words: list[str]) -> None:
    assert OmegaConf.to_container(compose_config(words)) == hydras(words)
    assert OmegaConf.is_struct(compose_config(words))


@pytest.mark.parametrize("words", REFUSED, ids=" ".join)
def test_what_hydra_refuses_it_refuses_in_the_same_words(words: list[str]) -> None:
    said = hydras(words)
    assert isinstance(said, Exception)
    with pytest.raises(type(said), match=f"^{re.escape(str(said))}$"):
        compose_config(words)


def test_what_one_is_given_nobody_else_sees() -> None:
    compose_config(["seed=1"]).seed = 7
    compose_config([]).algo.shaping_coef = 7.0
    assert compose_config(["seed=1"]).seed == 1 and compose_config([]).algo.shaping_coef != 7.0
