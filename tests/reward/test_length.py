"""DAPO's soft overlong punishment against its equation, and what the length limit adds."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import completion

from amend.errors import UserError
from amend.reward import Reward
from amend.reward.length import Length
from amend.task.identity import Identity
from amend.types import Episode, Turn

TASK = Identity(symbols=2, test=1)
ZERO = TASK.problems("test")[0]


def said(*tokens: int, stop: Literal["end", "length"] = "end") -> Episode:
    """An episode with replies of so many tokens."""
    turns = [Turn((0,), completion([1] * n, stop=stop)) for n in tokens]
    return Episode(ZERO, 0, tuple(turns))


def test_the_fine_grows_over_the_buffer() -> None:
    part = Length(TASK, weight=1.0, max_tokens=10, buffer=4)
    assert isinstance(part, Reward)
    paid = part([said(1, 6), said(7, 8), said(9, 10), said(11, 99)])
    np.testing.assert_array_equal(paid, [[0, 0], [-0.25, -0.5], [-0.75, -1], [-1, -1]])


def test_a_reply_that_was_cut_pays_in_full_whatever_its_length() -> None:
    part = Length(TASK, weight=1.0, max_tokens=10, buffer=1)
    np.testing.assert_array_equal(part([said(2, stop="length"), said(9)]), [[-1], [0]])


def test_episodes_of_different_turns_and_none() -> None:
    part = Length(TASK, weight=1.0, max_tokens=4, buffer=4)
    np.testing.assert_array_equal(part([said(4), said(0, 2, 3)]), [[-1, 0, 0], [0, -0.5, -0.75]])
    assert part([]).shape == (0, 0)


@given(st.data())
def test_it_is_equation_13(data: st.DataObject) -> None:
    most = data.draw(st.integers(1, 60))
    buffer, n = data.draw(st.integers(1, most)), data.draw(st.integers(0, 80))
    expected = 0.0 if n <= most - buffer else ((most - buffer) - n) / buffer if n <= most else -1.0
    assert Length(TASK, weight=1.0, max_tokens=most, buffer=buffer)([said(n)])[0, 0] == pytest.approx(expected)


def test_a_buffer_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match=r"reward\.length\.buffer=9: allowed: 1 to reward\.length\.max_tokens=8"):
        Length(TASK, weight=1.0, max_tokens=8, buffer=9)
