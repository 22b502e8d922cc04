"""Single-turn RL by hand: the first attempt is paid, held and trained; the second is not even looked at."""

from __future__ import annotations

from typing import Any

import torch
from toys import LOOP, episode, handed, policy, scored

from amend.algo.single_turn import SingleTurn
from amend.batch import Batch, collate
from amend.ops.logprobs import TokenLogprobs


def learner(**knobs: Any) -> SingleTurn:
    return SingleTurn(*handed(policy()), **{**LOOP, "kl_coef": 0.0, **knobs})


def two_by_four(seconds: tuple[float, float] = (0.0, 1.0)) -> Batch:
    """Two episodes of one problem, four tokens each: ask, draw, ask, draw. First attempts right and wrong."""
    rewards = [(1.0, seconds[0]), (0.0, seconds[1])]
    return collate([scored(episode([([5], [6]), ([2], [4])], sample=i), r) for i, r in enumerate(rewards)])


def test_credit_is_the_first_attempts_alone() -> None:
    """1 - 0 and 0 - 1 on turn 1; nothing on turn 2."""
    assert learner().advantages(two_by_four()).tolist() == [[0, 1, 0, 0], [0, -1, 0, 0]]


def test_the_second_attempt_changes_nothing() -> None:
    made = learner()
    assert torch.equal(made.advantages(two_by_four((1.0, 1.0))), made.advantages(two_by_four((0.0, 0.0))))


def test_loss_and_weights() -> None:
    """- credit log pi + beta KL on turn 1: 2 + 0.125 and -2 + 0.125. No KL and no credit on turn 2."""
    made, batch = learner(kl_coef=0.5), two_by_four()
    logp, kl = (torch.where(batch.loss_mask, value, 0.0) for value in (-2.0, 0.25))
    loss = made.loss(batch, made.advantages(batch), TokenLogprobs(logp, logp, kl, kl))
    assert loss.tolist() == [[0, 2.125, 0, 0], [0, -1.875, 0, 0]]
    assert made.token_weights(batch).tolist() == [[0, 0.5, 0, 0.5]] * 2
    assert made.loss_uses_reference() and not learner().loss_uses_reference()


def test_one_turn_is_enough() -> None:
    rows = [scored(episode([([5], [6, 4])], sample=i), (float(i),)) for i in range(2)]
    assert learner(turns=1).advantages(collate(rows)).tolist() == [[0, -1, -1], [0, 1, 1]]
