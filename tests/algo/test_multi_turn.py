"""Naive multi-turn RL by hand: each turn against the problem's other episodes, no bonus anywhere."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from toys import LOOP, episode, handed, policy, scored

from amend.algo.multi_turn import MultiTurn
from amend.batch import Batch, collate
from amend.ops.logprobs import TokenLogprobs


def learner(**knobs: Any) -> MultiTurn:
    return MultiTurn(*handed(policy()), **{**LOOP, "kl_coef": 0.0, "reward_turns": "all", "gamma": 0.0, **knobs})


def two_by_four(first: tuple[float, float] = (0.0, 1.0), second: tuple[float, float] = (1.0, 0.0)) -> Batch:
    """Two episodes of one problem, four tokens each: ask, draw, ask, draw."""
    made = [episode([([5], [6]), ([2], [4])], sample=i) for i in range(2)]
    return collate([scored(made[0], first), scored(made[1], second)])


@pytest.mark.parametrize(
    ("reward_turns", "gamma", "advantages"),
    [
        ("all", 0.0, [[0, -1, 0, 1], [0, 1, 0, -1]]),  # 0 - 1 and 1 - 0; 1 - 0 and 0 - 1
        ("all", 1.0, [[0, 0, 0, 1], [0, 0, 0, -1]]),  # turn 1 answers for both: 1 - 1
        ("all", 0.5, [[0, -0.5, 0, 1], [0, 0.5, 0, -1]]),  # 0 + 1/2 - (1 + 0)
        ("last", 0.0, [[0, 0, 0, 1], [0, 0, 0, -1]]),  # turn 1 is paid nothing
        ("last", 0.5, [[0, 0.5, 0, 1], [0, -0.5, 0, -1]]),
    ],
)
def test_credit(reward_turns: str, gamma: float, advantages: list[list[float]]) -> None:
    assert learner(reward_turns=reward_turns, gamma=gamma).advantages(two_by_four()).tolist() == advantages


def test_repeating_a_good_answer_pays_as_well_as_correcting_a_bad_one() -> None:
    """What SCoRe is held against: turn 2 earns r2 whatever turn 1 was, over all (r1, r2)."""
    pairs = list(product((0.0, 1.0), repeat=2))
    rows = [scored(episode([([5], [6]), ([2], [4])], sample=i), pair) for i, pair in enumerate(pairs)]
    advantages = learner().advantages(collate(rows))[:, 3]
    assert torch.allclose(advantages, torch.tensor([-2 / 3, 2 / 3, -2 / 3, 2 / 3]))  # 0 - 2/3 or 1 - 1/3


def test_other_problems_do_not_count() -> None:
    alone = collate([scored(episode([([5], [6]), ([2], [4])], name=n), (1.0, r)) for n, r in (("p", 1.0), ("q", 0.0))])
    assert learner().advantages(alone).abs().max() == 0


def test_loss_and_weights() -> None:
    """- credit log pi + beta KL: credit -1 and 1 at log pi = -2, and 0.5 of a KL of 0.25."""
    made, batch = learner(kl_coef=0.5), two_by_four()
    logp, kl = (torch.where(batch.loss_mask, value, 0.0) for value in (-2.0, 0.25))
    loss = made.loss(batch, made.advantages(batch), TokenLogprobs(logp, logp, kl, kl))
    assert loss.tolist() == [[0, -1.875, 0, 2.125], [0, 2.125, 0, -1.875]]
    assert made.token_weights(batch).tolist() == [[0, 0.5, 0, 0.5]] * 2
    assert made.loss_uses_reference() and not learner().loss_uses_reference()
