"""RLOO by hand: a reply is one action, so its KL, its credit and its ratio are the whole reply's."""

from __future__ import annotations

from dataclasses import replace
from math import log
from typing import Any

import pytest
import torch
from toys import LOOP, episode, handed, policy, scored

from amend.algo.rloo import RLOO
from amend.batch import Batch, collate
from amend.ops.logprobs import TokenLogprobs


def learner(**knobs: Any) -> RLOO:
    return RLOO(*handed(policy()), **{**LOOP, "kl_coef": 0.0, "clip_ratio_low": 0.2, "clip_ratio_high": 0.3, **knobs})


def two_by_four() -> Batch:
    """One problem, two samples: three drawn tokens and right, one drawn token and wrong; log pi = -1 throughout."""
    right, wrong = episode([([2], [5, 6, 4])]), episode([([2], [4])], sample=1)
    return collate([scored(right, (1.0,)), scored(wrong, (0.0,))])


def likelihood(logp: torch.Tensor) -> TokenLogprobs:
    nothing = torch.full_like(logp, torch.nan)
    return TokenLogprobs(logp, nothing, nothing, nothing)


def test_credit() -> None:
    assert learner().advantages(two_by_four()).tolist() == [[0, 1, 1, 1], [0, -1, 0, 0]]


def test_credit_with_the_kl_inside_the_reward() -> None:
    """log pi - log pi_ref is 1, 2, 3 in the first, -2 in the second: paid 1 - 6/2 = -2 and 0 + 2/2 = 1; apart by 3."""
    batch = two_by_four()
    batch = replace(batch, ref_logp=torch.tensor([[0.0, -2.0, -3.0, -4.0], [0.0, 1.0, 0.0, 0.0]]))
    assert learner(kl_coef=0.5).advantages(batch).tolist() == [[0, -3, -3, -3], [0, 3, 0, 0]]


def test_each_turn_is_an_action_of_its_own() -> None:
    """KL 1 in turn 1 and 3 in turn 2 of the first; none in the second: (0, 1) - (1, 3) against (1, 0)."""
    rows = [scored(episode([([5], [6]), ([2], [4])], sample=i), r) for i, r in enumerate([(0.0, 1.0), (1.0, 0.0)])]
    batch = collate(rows)
    batch = replace(batch, ref_logp=torch.tensor([[0.0, -2.0, 0.0, -4.0], [0.0, -1.0, 0.0, -1.0]]))
    assert learner(kl_coef=1.0).advantages(batch).tolist() == [[0, -2, 0, -2], [0, 2, 0, 2]]


@pytest.mark.parametrize(
    ("move", "losses", "slopes"),
    [
        (0.0, (-1.0, 1.0), (-1.0, 1.0)),  # ratio 1: REINFORCE
        (log(2.0), (-1.3, 2.0), (0.0, 2.0)),  # ratio 2: clipped to 1.3 where the credit is positive
        (-log(2.0), (-0.5, 0.8), (-0.5, 0.0)),  # ratio 1/2: clipped to 0.8 where it is negative
    ],
)
def test_the_loss_of_whole_replies(move: float, losses: tuple[float, float], slopes: tuple[float, float]) -> None:
    """One token of each reply has moved, and the ratio is the reply's: each token bears a third, or all, of its loss,
    and each has the whole reply's slope."""
    made, batch = learner(num_minibatches=2), two_by_four()
    logp = batch.old_logprobs.clone()
    logp[:, 1] += move
    logp.requires_grad_()
    loss = made.loss(batch, made.advantages(batch), likelihood(logp))
    one, two = losses
    assert torch.allclose(loss, torch.tensor([[0, one / 3, one / 3, one / 3], [0, two, 0, 0]]))
    slope = torch.autograd.grad(loss.sum(), logp)[0]
    assert torch.allclose(slope, torch.tensor([[0, slopes[0], slopes[0], slopes[0]], [0, slopes[1], 0, 0]]), atol=1e-6)


def test_one_update_a_round_is_reinforce_whatever_the_sampler_said() -> None:
    made, batch = learner(), two_by_four()
    logp = (batch.old_logprobs - 5.0).requires_grad_()
    slope = torch.autograd.grad(made.loss(batch, made.advantages(batch), likelihood(logp)).sum(), logp)[0]
    assert torch.allclose(slope, -made.advantages(batch))


def test_an_episode_counts_as_one_however_long() -> None:
    assert learner().token_weights(two_by_four()).tolist() == [[0, 0.5, 0.5, 0.5], [0, 0.5, 0, 0]]


def test_the_reference_is_paid_and_not_held_to() -> None:
    assert learner(kl_coef=0.05).reward_uses_reference() and not learner().reward_uses_reference()
    assert not learner(kl_coef=0.05).loss_uses_reference()
