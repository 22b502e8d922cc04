"""GRPO by hand: credit, surrogate, KL and weights of a 2 x 4 batch, for each value of each knob."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from toys import GRPO as KNOBS
from toys import LOOP, episode, handed, policy, scored

from amend.algo.grpo import GRPO
from amend.batch import Batch, collate
from amend.ops.logprobs import TokenLogprobs


def learner(**knobs: Any) -> GRPO:
    return GRPO(*handed(policy()), **{**LOOP, **KNOBS, "turns": 1, **knobs})


def two_by_four() -> Batch:
    """One problem, two samples: three drawn tokens and right, one drawn token and wrong."""
    right, wrong = episode([([2], [5, 6, 4])]), episode([([2], [4])], sample=1)
    return collate([scored(right, (1.0,)), scored(wrong, (0.0,))])


def likelihood(batch: Batch, logp: float, ref_logp: float) -> TokenLogprobs:
    def full(value: float) -> torch.Tensor:
        return torch.where(batch.loss_mask, value, 0.0)

    return TokenLogprobs(full(logp), full(ref_logp), full(0.0), full(0.0))


def test_credit_standardised_and_centred() -> None:
    """Rewards 1 and 0: mean 1/2, deviation sqrt(1/2)."""
    batch = two_by_four()
    unit = 0.5 / (0.5**0.5 + 1e-4)
    assert torch.allclose(learner().advantages(batch), torch.tensor([[0, unit, unit, unit], [0, -unit, 0, 0]]))
    centred = learner(scale_rewards=False).advantages(batch)
    assert centred.tolist() == [[0, 0.5, 0.5, 0.5], [0, -0.5, 0, 0]]


def test_one_update_a_round_is_reinforce() -> None:
    """The ratio is one, so the gradient with respect to log pi is minus the credit."""
    made, batch = learner(kl_coef=0.0), two_by_four()
    out = likelihood(batch, -1.0, -1.0)
    logp = out.logp.clone().requires_grad_()
    advantages = made.advantages(batch)
    gradient = torch.autograd.grad(made.loss(batch, advantages, out._replace(logp=logp)).sum(), logp)[0]
    assert torch.allclose(gradient, -advantages)


def test_several_updates_clip_by_the_samplers_log_probability() -> None:
    """The sampler said log pi = -1. Now it is -1 + log 2: ratio 2, clipped to 1.3 where the credit is positive. At -1 -
    log 2 it is 1/2, clipped to 0.8 where the credit is negative."""
    made, batch = learner(kl_coef=0.0, num_minibatches=2, scale_rewards=False, clip_ratio_high=0.3), two_by_four()
    up, down = (
        made.loss(batch, made.advantages(batch), likelihood(batch, -1.0 + move, -1.0))
        for move in (0.6931472, -0.6931472)
    )
    assert torch.allclose(up[0, 1:], torch.tensor(-1.3 * 0.5)) and torch.allclose(up[1, 1], torch.tensor(2 * 0.5))
    assert torch.allclose(down[0, 1:], torch.tensor(-0.5 * 0.5)) and torch.allclose(down[1, 1], torch.tensor(0.8 * 0.5))


def test_k3_by_hand() -> None:
    """log pi - log ref = log 2: exp(-d) - 1 + d = 1/2 - 1 + log 2."""
    made, batch = learner(kl_coef=0.5, scale_rewards=False), two_by_four()
    with_kl = made.loss(batch, torch.zeros_like(batch.old_logprobs), likelihood(batch, -1.0, -1.0 - 0.6931472))
    assert torch.allclose(with_kl[batch.loss_mask], torch.tensor(0.5 * (0.5 - 1 + 0.6931472)))


@pytest.mark.parametrize(
    ("reduction", "weights"),
    [
        ("seq_mean_token_mean", [[0, 1 / 6, 1 / 6, 1 / 6], [0, 1 / 2, 0, 0]]),
        ("token_mean", [[0, 1 / 4, 1 / 4, 1 / 4], [0, 1 / 4, 0, 0]]),
        ("seq_mean_token_sum_norm", [[0, 1 / 4, 1 / 4, 1 / 4], [0, 1 / 4, 0, 0]]),  # 1 / (2 episodes x max_tokens 2)
    ],
)
def test_reductions(reduction: str, weights: list[list[float]]) -> None:
    assert torch.allclose(learner(loss_agg_mode=reduction).token_weights(two_by_four()), torch.tensor(weights))


def test_the_reference_is_read_only_where_it_counts() -> None:
    assert learner().loss_uses_reference()
    assert not learner(kl_coef=0.0).loss_uses_reference()
