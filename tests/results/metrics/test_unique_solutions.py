"""Unique solutions by hand: the same arithmetic is one solution, another order or another operand is another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amend.results.metrics.diversity import operations, unique_across, unique_solutions


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("7*7=49 ok \\boxed{7*7}", "So 7 * 7 = 49 ok \\boxed{49}", True),  # words and spaces
        ("7*7=49 \\boxed{7*7}", "49/7=7 \\boxed{7*7}", False),
        ("2+3=5 \\boxed{5}", "3+2=5 \\boxed{5}", False),  # another order
        ("x=3: 8*3=24 \\boxed{3}", "8*3=24 \\boxed{3}", False),  # it also said 3 =
    ],
)
def test_what_is_the_same(one: str, other: str, same: bool) -> None:
    assert (operations(one) == operations(other)) is same


def test_only_right_ones_count() -> None:
    text = np.array([["1+1=2", "1 + 1 = 2", "2*1=2", "3-1=2"], ["1", "2", "3", "4"]], dtype=object)
    correct = np.array([[True, True, True, False], [False] * 4])
    assert unique_solutions(text, correct).tolist() == [2, 0]


def test_of_all_outputs_and_across_problems() -> None:
    """Of all: 1+1, 2*1, 3-1 and two other numbers. Across: the first of each that is kept, 1+1 twice."""
    text = np.array([["1+1=2", "1 + 1 = 2", "2*1=2", "3-1=2"], ["1", "1 + 1=2", "1", "2*1=2"]], dtype=object)
    everything, right = np.ones((2, 4), dtype=bool), np.array([[True, True, True, False], [False, True, False, True]])
    assert unique_solutions(text, everything).tolist() == [3, 3]
    assert unique_across(text, everything) == 2 and unique_across(text, right) == 1
    assert unique_across(text, ~everything) == 0


@given(st.lists(st.sampled_from(["1+1", "1 +1", "2*1", "4-2"]), min_size=1, max_size=8))
def test_never_more_than_samples_and_blind_to_their_order(replies: list[str]) -> None:
    row = np.array([replies], dtype=object)
    right = np.ones((1, len(replies)), dtype=bool)
    count = unique_solutions(row, right)[0]
    assert count == unique_solutions(row[:, ::-1], right)[0] == len({operations(r) for r in replies}) <= len(replies)
