"""Law 8: every knob does something. Each knob of each file in conf/algo is changed, and the run must change, or,
of what only asks, the answers.

A knob is found by being in the YAML; a value for it is found from its annotation. Six rounds of the identity task,
three of them in Stage I where there are stages, are enough for any of them to show.
"""

from __future__ import annotations

import typing
from functools import cache
from typing import Any

import pytest
import torch
from composed import IMITATING, TRAINED, composed
from learners import build, run, weights

from amend.algo.context import LoopConfig
from amend.config.schema import class_attribute, target_fields
from amend.config.value_checks import literal_values
from amend.errors import UserError
from amend.types import SamplingParams

ROUNDS = 6
SHORT = ["algo.max_tokens=1", "algo.num_minibatches=2"]  # so that some replies are right, and a fit has several steps
LENGTH = ["algo.max_tokens=3", "algo.num_iterations=6"]
STAGES = {"score": ["algo.stage1_iterations=3"]}
COMPANIONS: dict[Any, list[str]] = {  # what must hold for a knob to have something to act on
    ("expert_iteration", "max_per_problem"): ["algo.max_tokens=2", "algo.group_size=64"],
    "init_from": ["algo.iterations=3"],
    "accumulate_data": ["algo.iterations=3"],
    "rationalise": ["algo.max_tokens=1"],
    ("reinforce", "gamma"): ["algo.turns=2"],
    ("rloo", "clip_ratio_low"): ["algo.num_minibatches=4", "algo.lr=0.1"],
    ("rloo", "clip_ratio_high"): ["algo.num_minibatches=4", "algo.lr=0.01", "algo.max_tokens=1"],
    ("score", "gamma"): ["algo.baseline=problem"],  # with a discount, the context baseline has nothing it knows
    ("score", "beta2"): ["algo.stage1_iterations=3"],
    ("score", "adaptive_beta2"): [
        "algo.beta2=1e-4",
        "algo.max_tokens=1",
    ],  # the balance it seeks is above where it starts
    ("grpo", "clip_ratio_low"): [
        "algo.num_minibatches=4",
        "algo.lr=0.1",
    ],  # one update a round never leaves the trust region
    ("grpo", "clip_ratio_high"): ["algo.num_minibatches=4", "algo.lr=0.01", "algo.max_tokens=1"],
    ("grpo", "max_grad_norm"): ["algo.lr=0.1"],
}
IDLE = {"sft": ("max_tokens",)}  # it samples nothing; only its evaluation does
VALUES = {
    "stage1_iterations": 2,
    "clip_ratio_high": 1e-4,
    "clip_ratio_low": 1e-4,
    "gamma": 0.5,
    "adaptive_beta2": True,
    "groups_per_batch": 9,
    "num_minibatches": 3,
    "max_per_problem": 1,
    "pairs": 1,
    "gae_lambda": 0.5,
    "clip_range_vf": 1e-3,
    "max_grad_norm": 1e-3,
    "turns": 2,
    "warmup_steps": 4,
}


def other_values(name: str, knob: str, now: Any) -> list[Any]:
    """Values of a knob other than the one it has."""
    kind = target_fields(composed(f"algo={name}").algo._target_)[knob]
    if knob == "turns":
        return [1 if now == 2 else 2]
    if literal_values(kind):
        return [value for value in literal_values(kind) if value != now]
    if knob in VALUES:
        return [VALUES[knob]]
    base = typing.get_args(kind)[0] if typing.get_args(kind) else kind
    if base is bool:
        return [not now]
    return [now + 1 if base is int else (now * 2 if now else 0.5)]


def knobs() -> list[Any]:
    """Each key of each algorithm with another value. A key that algorithms share has one implementation, so all but two
    of them, one online and one that imitates, try it in ``make test-all`` alone."""
    found = []
    for name in TRAINED:
        for knob, now in composed(f"algo={name}").algo.items():
            if knob in ("name", "_target_", "num_iterations", *IDLE.get(name, ())):  # iterations: below
                continue
            shared = knob in LoopConfig.__annotations__ and name not in ("score", "star")
            marks = [pytest.mark.heavy] if shared else []
            found += [pytest.param(name, str(knob), value, marks=marks) for value in other_values(name, str(knob), now)]
    return found


@cache
def trained(name: str, *overrides: str) -> torch.Tensor:
    """The weights after a few rounds, the later of two overrides of one key winning."""
    algorithm, task = build(
        name, *LENGTH, *(SHORT if name in IMITATING else STAGES.get(name, [])), *overrides, cold=False
    )
    run(algorithm, task, ROUNDS)
    return weights(algorithm)


@pytest.mark.parametrize(("name", "knob", "value"), knobs())
def test_it_changes_the_run(name: str, knob: str, value: Any) -> None:
    companions = COMPANIONS.get((name, knob), COMPANIONS.get(knob, []))
    if (name, knob, value) == ("score", "turns", 1):
        companions = ["algo.stage1_iterations=0"]
    setting = f"algo.{knob}={str(value).lower() if isinstance(value, bool) else value}"
    bound = knob in ("turns", "pairs") if name == "dpo" else (name, knob) == ("star", "turns")
    fixed = class_attribute(composed(f"algo={name}").algo._target_, "fixed", default={})
    if knob in fixed or bound:
        with pytest.raises(UserError, match=f"algo.(turns|{knob})="):  # it cannot be otherwise, and that is said
            composed(f"algo={name}", setting)
        return
    assert not torch.equal(trained(name, *companions), trained(name, *companions, setting))


@pytest.mark.parametrize("name", TRAINED)
def test_rounds_is_how_many_are_asked_for(name: str) -> None:
    stages = ["algo.stage1_iterations=0"] if name == "score" else []
    algorithm, _ = build(name, "algo.num_iterations=7", *stages)
    assert algorithm.num_iterations == 7


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        ("best_of_n", "algo.n=1"),
        ("best_of_n", "algo.temperature=0.1"),
        ("self_consistency", "algo.num_votes=2"),
        ("self_consistency", "algo.temperature=0.1"),
    ],
)
def test_it_changes_what_is_answered(name: str, setting: str) -> None:
    """Of ways of asking: how many replies, and how hot. The reply they end with is another for some problem."""
    said = []
    for overrides in ([], [setting]):
        algorithm, task = build(name, *overrides, cold=False)
        episodes = algorithm.generate(task.problems("test"), 4, [SamplingParams(1.0, 3)] * 2, (0,))
        said.append([episode.turns[-1].reply.tokens for episode in episodes])
    assert said[0] != said[1]
