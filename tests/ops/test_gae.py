"""Generalised advantage estimation: by hand, and against its definition as a sum, written in numpy.

    A_i = sum_(l >= 0) (gamma lambda)^l delta_(i + l),   delta_i = pay_i + gamma V_(i + 1) - V_i

i counts the sampled tokens of an episode: whatever lies between two of them takes no time.
"""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from amend.ops.advantages import gae

unit = st.floats(0, 1)
number = st.floats(-5, 5)


@st.composite
def rows(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Pay, values and which tokens were sampled, [b t]: any mask, the empty and the full one among them."""
    b, t = draw(st.integers(1, 3)), draw(st.integers(1, 8))

    def table(element: st.SearchStrategy, kind: torch.dtype) -> torch.Tensor:
        return torch.tensor(
            draw(st.lists(st.lists(element, min_size=t, max_size=t), min_size=b, max_size=b)), dtype=kind
        )

    return table(number, torch.float64), table(number, torch.float64), table(st.booleans(), torch.bool)


def as_a_sum(pay: np.ndarray, value: np.ndarray, loss_mask: np.ndarray, gamma: float, lam: float) -> np.ndarray:
    """The definition, episode by episode, over the sampled tokens alone."""
    advantage = np.zeros_like(pay)
    for row, mask in enumerate(loss_mask):
        places = np.flatnonzero(mask)
        v = np.append(value[row, places], 0.0)
        delta = [pay[row, at] + gamma * v[i + 1] - v[i] for i, at in enumerate(places)]
        for i, at in enumerate(places):
            advantage[row, at] = sum((gamma * lam) ** step * d for step, d in enumerate(delta[i:]))
    return advantage


def test_three_tokens_and_two_turns_by_hand() -> None:
    """Ask, draw, draw, ask, draw; paid 0, 1 and 2; V = 4, 2, 6; gamma = lambda = 1/2.

    delta_3 = 2 - 6 = -4                      A_3 = -4
    delta_2 = 1 + 6 / 2 - 2 = 2               A_2 = 2 - 4 / 4 = 1
    delta_1 = 0 + 2 / 2 - 4 = -3              A_1 = -3 + 1 / 4 = -2.75
    """
    pay = torch.tensor([[9.0, 0.0, 1.0, 9.0, 2.0]])
    value = torch.tensor([[9.0, 4.0, 2.0, 9.0, 6.0]])
    loss_mask = torch.tensor([[False, True, True, False, True]])
    assert gae(pay, value, loss_mask, 0.5, 0.5).tolist() == [[0.0, -2.75, 1.0, 0.0, -4.0]]


def test_the_ends_of_lambda_by_hand() -> None:
    """lambda = 0: one step. lambda = gamma = 1: the return less the value, 3 - 4, 3 - 2 and 2 - 6."""
    pay, value = torch.tensor([[0.0, 1.0, 2.0]]), torch.tensor([[4.0, 2.0, 6.0]])
    loss_mask = torch.ones(1, 3, dtype=torch.bool)
    assert gae(pay, value, loss_mask, 0.5, 0.0).tolist() == [[-3.0, 2.0, -4.0]]
    assert gae(pay, value, loss_mask, 1.0, 1.0).tolist() == [[-1.0, 1.0, -4.0]]


@given(rows(), unit, unit)
def test_it_is_the_sum_it_is_defined_as(
    drawn: tuple[torch.Tensor, torch.Tensor, torch.Tensor], gamma: float, lam: float
) -> None:
    pay, value, loss_mask = (x.numpy() for x in drawn)
    expected = as_a_sum(pay, value, loss_mask, gamma, lam)
    np.testing.assert_allclose(gae(*drawn, gamma, lam).numpy(), expected, rtol=1e-9, atol=1e-9)


@given(rows(), unit)
def test_with_lambda_one_the_targets_are_the_returns(
    drawn: tuple[torch.Tensor, torch.Tensor, torch.Tensor], gamma: float
) -> None:
    """A + V is then what was paid from here on, discounted, whatever the critic says."""
    pay, value, loss_mask = drawn
    target = torch.where(loss_mask, gae(pay, value, loss_mask, gamma, 1.0) + value, 0.0)
    nothing = gae(pay, torch.zeros_like(value), loss_mask, gamma, 1.0)
    np.testing.assert_allclose(target.numpy(), nothing.numpy(), rtol=1e-9, atol=1e-9)


@given(rows(), unit, unit)
def test_what_was_not_sampled_does_not_count(
    drawn: tuple[torch.Tensor, torch.Tensor, torch.Tensor], gamma: float, lam: float
) -> None:
    pay, value, loss_mask = drawn
    other = gae(torch.where(loss_mask, pay, 1e6), torch.where(loss_mask, value, -1e6), loss_mask, gamma, lam)
    assert torch.equal(gae(pay, value, loss_mask, gamma, lam), other)
