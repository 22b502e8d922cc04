"""Surrogates and reductions by hand."""

import math

import torch

from amend.ops import reduce, surrogate

SAMPLED = torch.tensor([[False, True, True, True], [False, True, False, False]])


def test_reinforce_by_hand() -> None:
    assert surrogate.reinforce(torch.tensor([[-2.0, -1.0]]), torch.tensor([[3.0, -1.0]])).tolist() == [[6.0, -1.0]]


def test_clipped_by_hand() -> None:
    """Ratios 2, 2, 1/2, 1/2 under credit +1, -1, +1, -1, clipped to [0.8, 1.3]."""
    logp = torch.log(torch.tensor([[2.0, 2.0, 0.5, 0.5]]))
    loss = surrogate.clipped(logp, torch.zeros(1, 4), torch.tensor([[1.0, -1.0, 1.0, -1.0]]), 0.2, 0.3)
    assert torch.allclose(loss, torch.tensor([[-1.3, 2.0, -0.5, 0.8]]))


def test_clipping_stops_the_gradient_only_where_it_binds() -> None:
    logp = torch.log(torch.tensor([[2.0, 2.0, 0.5, 0.5]])).requires_grad_()
    surrogate.clipped(logp, torch.zeros(1, 4), torch.tensor([[1.0, -1.0, 1.0, -1.0]]), 0.2, 0.3).sum().backward()
    assert torch.allclose(logp.grad, torch.tensor([[0.0, 2.0, -0.5, 0.0]]))


def test_on_policy_the_clipped_gradient_is_reinforces() -> None:
    logp = torch.tensor([[-1.0, -3.0]]).requires_grad_()
    surrogate.clipped(logp, logp, torch.tensor([[2.0, -1.0]]), 0.2, 0.2).sum().backward()
    assert torch.allclose(logp.grad, torch.tensor([[-2.0, 1.0]]))


def test_weights_by_hand() -> None:
    assert reduce.episode(SAMPLED).tolist() == [[0.0, 0.5, 0.5, 0.5], [0.0, 0.5, 0.0, 0.0]]
    assert torch.allclose(reduce.sequence(SAMPLED), torch.tensor([[0.0, 1 / 6, 1 / 6, 1 / 6], [0.0, 0.5, 0.0, 0.0]]))
    assert reduce.token(SAMPLED).tolist() == [[0.0, 0.25, 0.25, 0.25], [0.0, 0.25, 0.0, 0.0]]
    assert torch.allclose(reduce.constant(SAMPLED, 5), SAMPLED.float() / 10)


def test_a_row_without_sampled_tokens_weighs_nothing() -> None:
    empty = torch.zeros(2, 3, dtype=torch.bool)
    for weights in (reduce.episode(empty), reduce.sequence(empty), reduce.token(empty), reduce.constant(empty, 2)):
        assert weights.abs().sum() == 0
        assert math.isfinite(float(weights.sum()))
