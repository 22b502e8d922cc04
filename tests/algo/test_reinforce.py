"""REINFORCE by hand: returns, the batch's yardstick, the exact KL as part of the loss."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from toys import LOOP, episode, handed, policy, scored

from amend.algo.reinforce import Reinforce
from amend.batch import Batch, collate
from amend.ops.logprobs import TokenLogprobs


def learner(**knobs: Any) -> Reinforce:
    return Reinforce(*handed(policy()), **{**LOOP, "baseline": "none", "gamma": 0.0, "kl_coef": 0.0, **knobs})


def two_by_four() -> Batch:
    """Two problems, one episode each, of four tokens: ask, draw, ask, draw. Rewards (1, 0) and (0, 4)."""
    one = episode([([5], [6]), ([2], [4])], name="p")
    two = episode([([5], [4]), ([2], [6])], name="q")
    return collate([scored(one, (1.0, 0.0)), scored(two, (0.0, 4.0))])


@pytest.mark.parametrize(
    ("baseline", "gamma", "advantages"),
    [
        ("none", 0.0, [[0, 1, 0, 0], [0, 0, 0, 4]]),  # each turn its own reward
        ("none", 0.5, [[0, 1, 0, 0], [0, 2, 0, 4]]),  # turn 1 of the second: 0 + 4 / 2
        ("none", 1.0, [[0, 1, 0, 0], [0, 4, 0, 4]]),
        ("batch", 0.0, [[0, 1, 0, -4], [0, -1, 0, 4]]),  # 1 - 0 and 0 - 4; 0 - 1 and 4 - 0
        ("batch", 1.0, [[0, -3, 0, -4], [0, 3, 0, 4]]),  # turn 1: 1 against 4
    ],
)
def test_credit(baseline: str, gamma: float, advantages: list[list[float]]) -> None:
    assert learner(baseline=baseline, gamma=gamma).advantages(two_by_four()).tolist() == advantages


def test_loss_and_weights() -> None:
    """- credit log pi + beta KL at each token: - 1 (-2) + 0.5 0.25 where the credit is 1, and so on; 1/2 each."""
    made, batch = learner(kl_coef=0.5), two_by_four()
    logp, kl = (torch.where(batch.loss_mask, value, 0.0) for value in (-2.0, 0.25))
    loss = made.loss(batch, made.advantages(batch), TokenLogprobs(logp, logp, kl, kl))
    assert loss.tolist() == [[0, 2.125, 0, 0.125], [0, 0.125, 0, 8.125]]
    assert made.token_weights(batch).tolist() == [[0, 0.5, 0, 0.5], [0, 0.5, 0, 0.5]]


def test_the_gradient_is_minus_credit_and_the_kls_is_beta() -> None:
    made, batch = learner(kl_coef=0.5), two_by_four()
    logp, kl = (torch.zeros_like(batch.old_logprobs).requires_grad_() for _ in range(2))
    loss = made.loss(batch, made.advantages(batch), TokenLogprobs(logp, logp.detach(), kl, kl.detach()))
    by_logp, by_kl = torch.autograd.grad(loss.sum(), [logp, kl])
    assert torch.equal(by_logp, -made.advantages(batch))
    assert by_kl.tolist() == [[0.5] * 4] * 2


def test_the_reference_is_read_only_where_it_counts() -> None:
    assert learner(kl_coef=0.01).loss_uses_reference() and not learner().loss_uses_reference()
    assert not learner(kl_coef=0.01).reward_uses_reference()


def test_without_a_reference_its_absence_is_not_felt() -> None:
    made, batch = learner(), two_by_four()
    nan = torch.full_like(batch.old_logprobs, torch.nan)
    assert bool(
        made.loss(batch, made.advantages(batch), TokenLogprobs(batch.old_logprobs, nan, nan, nan)).isfinite().all()
    )
