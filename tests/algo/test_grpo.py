"""GRPO by hand: credit, surrogate, KL and weights of a 2 x 4 batch, for each value of each knob."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from amend.algo.grpo import GRPO
from amend.batch import Batch, collate
from amend.ops.likelihood import Likelihood
from toys import GRPO as KNOBS
from toys import LOOP, episode, handed, policy, scored


def learner(**knobs: Any) -> GRPO:
    return GRPO(*handed(policy()), **{**LOOP, **KNOBS, "turns": 1, **knobs})


def two_by_four() -> Batch:
    """One problem, two samples: three drawn tokens and right, one drawn token and wrong."""
    right, wrong = episode([([2], [5, 6, 4])]), episode([([2], [4])], sample=1)
    return collate([scored(right, (1.0,)), scored(wrong, (0.0,))])


def likelihood(batch: Batch, logp: float, ref_logp: float) -> Likelihood:
    def full(value: float) -> torch.Tensor:
        return torch.where(batch.sampled, value, 0.0)

    return Likelihood(full(logp), full(ref_logp), full(0.0), full(0.0))


def test_credit_standardised_and_centred() -> None:
    """Rewards 1 and 0: mean 1/2, deviation sqrt(1/2)."""
    batch = two_by_four()
    unit = 0.5 / (0.5**0.5 + 1e-4)
    assert torch.allclose(learner().credit(batch), torch.tensor([[0, unit, unit, unit], [0, -unit, 0, 0]]))
    centred = learner(standardize=False).credit(batch)
    assert centred.tolist() == [[0, 0.5, 0.5, 0.5], [0, -0.5, 0, 0]]


def test_one_update_a_round_is_reinforce() -> None:
    """The ratio is one, so the gradient with respect to log pi is minus the credit."""
    made, batch = learner(beta=0.0), two_by_four()
    out = likelihood(batch, -1.0, -1.0)
    logp = out.logp.clone().requires_grad_()
    credit = made.credit(batch)
    gradient = torch.autograd.grad(made.loss(batch, credit, out._replace(logp=logp)).sum(), logp)[0]
    assert torch.allclose(gradient, -credit)


def test_several_updates_clip_by_the_samplers_log_probability() -> None:
    """The sampler said log pi = -1. Now it is -1 + log 2: ratio 2, clipped to 1.3 where the credit is positive. At -1 -
    log 2 it is 1/2, clipped to 0.8 where the credit is negative."""
    made, batch = learner(beta=0.0, updates=2, standardize=False, clip_high=0.3), two_by_four()
    up, down = (
        made.loss(batch, made.credit(batch), likelihood(batch, -1.0 + move, -1.0)) for move in (0.6931472, -0.6931472)
    )
    assert torch.allclose(up[0, 1:], torch.tensor(-1.3 * 0.5)) and torch.allclose(up[1, 1], torch.tensor(2 * 0.5))
    assert torch.allclose(down[0, 1:], torch.tensor(-0.5 * 0.5)) and torch.allclose(down[1, 1], torch.tensor(0.8 * 0.5))


def test_k3_by_hand() -> None:
    """log pi - log ref = log 2: exp(-d) - 1 + d = 1/2 - 1 + log 2."""
    made, batch = learner(beta=0.5, standardize=False), two_by_four()
    with_kl = made.loss(batch, torch.zeros_like(batch.logp), likelihood(batch, -1.0, -1.0 - 0.6931472))
    assert torch.allclose(with_kl[batch.sampled], torch.tensor(0.5 * (0.5 - 1 + 0.6931472)))


@pytest.mark.parametrize(
    ("reduction", "weights"),
    [
        ("sequence", [[0, 1 / 6, 1 / 6, 1 / 6], [0, 1 / 2, 0, 0]]),
        ("token", [[0, 1 / 4, 1 / 4, 1 / 4], [0, 1 / 4, 0, 0]]),
        ("constant", [[0, 1 / 4, 1 / 4, 1 / 4], [0, 1 / 4, 0, 0]]),  # 1 / (2 episodes x max_tokens 2)
    ],
)
def test_reductions(reduction: str, weights: list[list[float]]) -> None:
    assert torch.allclose(learner(reduction=reduction).weights(two_by_four()), torch.tensor(weights))


def test_the_reference_is_read_only_where_it_counts() -> None:
    assert learner().needs_reference()
    assert not learner(beta=0.0).needs_reference()
