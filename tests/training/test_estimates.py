"""What a run says of itself before its first round: counted by hand."""

from __future__ import annotations

import pytest
from composed import composed
from learners import build
from toys import policy

from amend.components import Components
from amend.dialogue import SelfCorrect
from amend.distributed import collectives
from amend.policy.policy import Policy
from amend.training import estimates, preflight_checks
from amend.training.estimates import current_memory, estimate_memory
from amend.types import SamplingParams

LOOP = ("algo.max_tokens=4", "algo.groups_per_batch=5", "algo.group_size=6")


def said(*overrides: str) -> dict[str, str]:
    algorithm, task = build("score")
    house = Components(
        task, SelfCorrect(turns=2, instruction="try"), algorithm.policy, algorithm.runner, algorithm.reward
    )  # type: ignore[arg-type]
    return estimates.estimate_run(composed(*overrides), house)


@pytest.mark.parametrize(
    ("overrides", "most"),
    [
        (
            ["algo=score", "algo.num_iterations=7", "algo.stage1_iterations=1", "algo.num_minibatches=3"],
            "7 iterations, 21 optimizer steps, 210 episodes, 1,680 sampled tokens",
        ),
        (
            [
                "algo=expert_iteration",
                "algo.num_iterations=9",
                "algo.iterations=3",
                "algo.update_epochs=2",
                "algo.num_minibatches=4",
            ],
            "9 iterations, 24 optimizer steps, 270 episodes, 1,080 sampled tokens",
        ),
        (
            ["algo=grpo", "algo.num_iterations=100", "algo.turns=1", "budget.episodes=90", "budget.sampled_tokens=300"],
            "100 iterations, 100 optimizer steps, 90 episodes, 300 sampled tokens",
        ),
        (  # given solutions are told, and nothing is drawn
            ["algo=sft", "algo.update_epochs=2", "algo.num_minibatches=3"],
            "1 iterations, 6 optimizer steps, 5 episodes, 0 sampled tokens",
        ),
    ],
)
def test_the_most_there_is_to_do(overrides: list[str], most: str) -> None:
    loop = LOOP[:2] if "algo=sft" in overrides else LOOP
    assert said(*overrides, *loop)["at most"] == most


def test_nothing_is_said_of_a_run_that_trains_nothing() -> None:
    assert said("algo=untrained") == {}


def test_more_memory_than_there_is_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "too much" not in said(*LOOP)["memory"]
    monkeypatch.setattr(estimates, "available_memory", lambda device: 2**10)
    assert "too much" in said(*LOOP)["memory"]


@pytest.mark.parametrize(
    ("overrides", "wanted"),
    [
        (["algo=grpo", "rollout.max_batch_size=8"], 8),  # fewer at once than a round has
        (["algo=grpo", "rollout.max_batch_size=512"], 30),  # never more than a round has
        (["algo=grpo", "rollout=vllm", "policy.path=owner/model", "trainer.accelerator=gpu"], 0),  # on the server
        (["algo=untrained"], 1),
    ],
)
def test_the_cache_is_that_of_the_rows_sampled_at_once(
    overrides: list[str], wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = LOOP if overrides[0] != "algo=untrained" else ()
    cfg = composed(*overrides, *loop)
    assert estimates.rows(cfg) == wanted
    seen: list[int] = []
    monkeypatch.setattr(
        preflight_checks, "estimate_memory", lambda policy, rows, longest: seen.append(rows) or {"weights": 0}
    )
    algorithm, task = build("score")
    house = Components(
        task, SelfCorrect(turns=2, instruction="try"), algorithm.policy, algorithm.runner, algorithm.reward
    )  # type: ignore[arg-type]
    sampling_params = [SamplingParams(1.0, 1)] * 2
    scored = house.reward(house.runner(task.problems("test")[:1], 2, sampling_params, (0,)))
    assert preflight_checks.memory(preflight_checks.CheckContext(cfg, house, algorithm, scored)).ok
    assert seen == [wanted]


def test_the_pace_is_that_of_the_evaluation() -> None:
    cfg = composed("algo=score", "algo.num_iterations=30", "algo.groups_per_batch=5", "algo.group_size=2")
    assert estimates.describe_pace(cfg, replies=200, seconds=50.0) == (
        "at the pace of this evaluation (4 replies/s) the 600 replies to train on take 2:30; updates come on top"
    )


def test_weights_divided_among_two_processes_take_half(monkeypatch: pytest.MonkeyPatch) -> None:
    """Model, copy, gradient and Adam's two moments; whole weights in two processes, and what DDP sends in besides."""
    small = policy()
    one = sum(w.numel() for w in small.lm.parameters()) * 4
    assert current_memory(small) == 2 * one and estimate_memory(small, 1, 8)["weights"] == 5 * one
    monkeypatch.setattr(collectives, "world_size", lambda: 2)
    assert estimate_memory(small, 1, 8)["weights"] == 6 * one
    monkeypatch.setattr(Policy, "is_sharded", True)
    assert current_memory(small) == one and estimate_memory(small, 1, 8)["weights"] == 2.5 * one
