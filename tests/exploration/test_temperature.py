"""Temperatures by hand: a number for each turn, and exactly both ends of an annealing."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amend.errors import UserError
from amend.exploration.temperature import Anneal, Constant, Temperature

TEMPERATURES = st.lists(st.floats(0.01, 5.0), min_size=1, max_size=3)


def test_constant_is_a_number_for_each_turn_and_the_last_for_the_rest() -> None:
    constant = Constant(value=[1.0, 0.7])
    assert isinstance(constant, Temperature)
    assert [constant(turn, done) for turn in (0, 1, 2) for done in (0.0, 1.0)] == [1.0, 1.0, 0.7, 0.7, 0.7, 0.7]


def test_linear_by_hand() -> None:
    """Turn 1 up from 0.2 to 1.0, turn 2 down from 1.0 to 0.5, over the first half of the run."""
    anneal = Anneal(start=[0.2, 1.0], end=[1.0, 0.5], schedule="linear", anneal_fraction=0.5)
    assert [anneal(0, done) for done in (0.0, 0.25, 0.5, 0.75, 1.0)] == pytest.approx([0.2, 0.6, 1.0, 1.0, 1.0])
    assert [anneal(1, done) for done in (0.0, 0.25, 0.5)] == pytest.approx([1.0, 0.75, 0.5])
    assert anneal(7, 0.25) == anneal(1, 0.25)


def test_cosine_by_hand() -> None:
    """(1 - cos(pi x)) / 2 is 0, 1/4, 1/2, 3/4, 1 at x = 0, 1/3, 1/2, 2/3, 1."""
    anneal = Anneal(start=[0.0 + 1.0], end=[2.0], schedule="cosine", anneal_fraction=1.0)
    assert [anneal(0, x) for x in (0.0, 1 / 3, 0.5, 2 / 3, 1.0)] == pytest.approx([1.0, 1.25, 1.5, 1.75, 2.0])


def test_one_end_may_have_fewer_turns_than_the_other() -> None:
    anneal = Anneal(start=[0.5], end=[1.0, 2.0], schedule="linear", anneal_fraction=1.0)
    assert [anneal(turn, 0.5) for turn in (0, 1)] == pytest.approx([0.75, 1.25])


def test_until_nothing_is_the_end_at_once() -> None:
    assert Anneal(start=[0.2], end=[1.0], schedule="linear", anneal_fraction=0.0)(0, 0.0) == 1.0


@pytest.mark.parametrize("shape", ["linear", "cosine"])
@given(start=TEMPERATURES, end=TEMPERATURES, until=st.floats(0.01, 1.0), done=st.floats(0, 1), turn=st.integers(0, 4))
def test_annealing_starts_and_ends_exactly_and_stays_between(
    shape: Literal["linear", "cosine"], start: list[float], end: list[float], until: float, done: float, turn: int
) -> None:
    anneal = Anneal(start=start, end=end, schedule=shape, anneal_fraction=until)
    first, last = start[min(turn, len(start) - 1)], end[min(turn, len(end) - 1)]
    assert anneal(turn, 0.0) == first and anneal(turn, until) == last and anneal(turn, 1.0) == last
    low, high = sorted((first, last))
    assert low - 1e-12 <= anneal(turn, done) <= high + 1e-12


def test_an_empty_list_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"temperature\.value=\[\]"):
        Constant(value=[])
    with pytest.raises(UserError, match=r"temperature\.end=\[\]"):
        Anneal(start=[1.0], end=[], schedule="linear", anneal_fraction=1.0)
