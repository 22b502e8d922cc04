"""Keys and choices of older versions are refused in one line that has the new name; the new names exist."""

from __future__ import annotations

import sys

import pytest
from composed import composed

from amend import cli
from amend.config.compose import config_dir
from amend.config.renamed import CHOICES, GROUPS, KEYS, METRICS, renamed_word
from amend.results.analysis.metric_registry import TRAINING

CONTEXT = {  # the choice that has the key, where the default configuration has not
    "algo.standardize": "algo=grpo", "algo.reduction": "algo=grpo", "algo.skip_equal": "algo=grpo",
    "algo.clip_low": "algo=grpo", "algo.clip_high": "algo=grpo", "algo.lam": "algo=ppo", "algo.beta": "algo=grpo",
    "algo.begin": "algo=star", "algo.heat": "algo=best_of_n", "curriculum.replay": "curriculum=plr",
}  # fmt: skip


USUAL = {old.partition(".")[0]: old for old in KEYS}.values()  # one key of each group on every change
EVERY = [pytest.param(*pair, marks=[] if pair[0] in USUAL else pytest.mark.heavy, id=pair[0]) for pair in KEYS.items()]


@pytest.mark.parametrize(("old", "new"), EVERY)
def test_an_old_key_is_refused_with_the_new_one(
    old: str, new: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [f"{old}=1", *([CONTEXT[old]] if old in CONTEXT else [])]
    monkeypatch.setattr(sys, "argv", ["run.py", *words, "--cfg", "job"])
    assert cli.main() == 2
    said = capsys.readouterr().err
    assert said.strip() == f"amend: {old}=1: renamed to {new}"


@pytest.mark.parametrize(("old", "new"), CHOICES.items())
def test_an_old_choice_is_refused_with_the_new_one(
    old: str, new: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", old, "--cfg", "job"])
    assert cli.main() == 2
    assert capsys.readouterr().err.strip() == f"amend: {old}: renamed to {new}"
    group, _, name = new.partition("=")
    assert (config_dir() / group / f"{name}.yaml").is_file() and not (config_dir() / old.replace("=", "/")).exists()


def test_new_names_exist_and_old_ones_do_not() -> None:
    groups = {path.name for path in config_dir().iterdir() if path.is_dir()}
    assert set(GROUPS.values()) <= groups and not set(GROUPS) & groups
    assert not set(KEYS) & set(KEYS.values())
    cfg = composed()
    assert not [old for old in KEYS if old.split(".")[1] in cfg.get(old.split(".")[0], {})]
    known = {name.replace("tN", "t1") for name in TRAINING} | set(TRAINING)
    assert not [new for new in METRICS.values() if new not in known]


def test_a_prefix_of_hydra_stays() -> None:
    assert renamed_word("+algo.samples=8") == "+algo.group_size=8" and renamed_word("algo.lr=1") is None
