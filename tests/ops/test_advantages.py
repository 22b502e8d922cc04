"""Credit by hand: a 2 x 4 batch on paper, and the properties that no example shows."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from amend.ops import advantages

REWARD = torch.tensor([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
ONE_GROUP = torch.zeros(4, dtype=torch.long)


def test_progress_by_hand() -> None:
    """(0,1) earns 11, (1,1) 1, (1,0) -10, (0,0) 0 in turn 2; turn 1 keeps its own reward."""
    expected = torch.tensor([[0.0, 11.0], [1.0, 1.0], [1.0, -10.0], [0.0, 0.0]])
    assert torch.equal(advantages.add_shaping_bonus(REWARD, 10.0), expected)


def test_progress_counts_from_the_turn_just_before() -> None:
    assert advantages.add_shaping_bonus(torch.tensor([[1.0, 0.0, 1.0]]), 2.0).tolist() == [[1.0, -2.0, 3.0]]


def test_returns_by_hand() -> None:
    pay = torch.tensor([[1.0, 2.0, 4.0]])
    assert advantages.discounted_returns(pay, 0.0).tolist() == [[1.0, 2.0, 4.0]]
    assert advantages.discounted_returns(pay, 0.5).tolist() == [[3.0, 4.0, 4.0]]
    assert advantages.discounted_returns(pay, 1.0).tolist() == [[7.0, 6.0, 4.0]]


def test_leave_one_out_by_hand() -> None:
    value = torch.tensor([[1.0], [0.0], [0.0], [0.0]])
    advantage = value - advantages.leave_one_out(value, ONE_GROUP)
    assert torch.allclose(advantage[:, 0], torch.tensor([1.0, -1 / 3, -1 / 3, -1 / 3]))


def test_leave_one_out_of_equals_is_nothing_and_alone_is_nothing() -> None:
    value = torch.tensor([[0.7], [0.7], [5.0]])
    advantage = value - advantages.leave_one_out(value, torch.tensor([0, 0, 1]))
    assert torch.allclose(advantage, torch.zeros(3, 1), atol=1e-6)


def test_batch_mean_is_leave_one_out_over_everything() -> None:
    value = torch.tensor([[3.0], [1.0], [2.0]])
    assert advantages.batch_mean(value)[:, 0].tolist() == [1.5, 2.5, 2.0]


def test_standardize_by_hand() -> None:
    """Four samples, one right: mean 1/4, deviation 1/2 (n - 1)."""
    value = torch.tensor([[1.0], [0.0], [0.0], [0.0]])
    got = advantages.normalize_by_group(value, ONE_GROUP)[:, 0]
    assert torch.allclose(got, torch.tensor([0.75, -0.25, -0.25, -0.25]) / (0.5 + 1e-4))


def test_standardize_of_equals_is_zero_not_infinite() -> None:
    assert advantages.normalize_by_group(torch.ones(4, 2), ONE_GROUP).abs().max() == 0


def test_spread_reaches_the_drawn_tokens_of_its_turn_only() -> None:
    """A 2 x 4 batch: prompt, turn 1's draw, turn 2's prompt, turn 2's draw; the second row ends early."""
    turn = torch.tensor([[0, 0, 1, 1], [0, 0, -1, -1]])
    loss_mask = torch.tensor([[False, True, False, True], [False, True, False, False]])
    got = advantages.broadcast_to_tokens(torch.tensor([[5.0, 7.0], [2.0, 9.0]]), turn, loss_mask)
    assert got.tolist() == [[0.0, 5.0, 0.0, 7.0], [0.0, 2.0, 0.0, 0.0]]


groups = st.lists(st.tuples(st.floats(-5, 5, width=32), st.integers(0, 3)), min_size=2, max_size=20)


@given(groups)
def test_order_and_neighbours_do_not_matter(rows: list[tuple[float, int]]) -> None:
    """Shuffling episodes shuffles credit; other groups' values change nothing."""
    value = torch.tensor([[v] for v, _ in rows], dtype=torch.float64)
    group = torch.tensor([g for _, g in rows])
    for function in (advantages.leave_one_out, advantages.normalize_by_group, advantages.center_by_group):
        whole = function(value, group)
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
        assert torch.allclose(function(value[order], group[order]), whole[order])
        mine = group == group[0]
        assert torch.allclose(function(value[mine], torch.zeros(int(mine.sum()), dtype=torch.long)), whole[mine])


@given(groups)
def test_an_episode_cannot_move_its_own_baseline(rows: list[tuple[float, int]]) -> None:
    value = torch.tensor([[v] for v, _ in rows], dtype=torch.float64)
    group = torch.tensor([g for _, g in rows])
    if int((group == group[0]).sum()) < 2:
        return
    moved = value.clone()
    moved[0] += 3.0
    assert torch.allclose(advantages.leave_one_out(value, group)[0], advantages.leave_one_out(moved, group)[0])


def test_centre_by_hand() -> None:
    """Two groups in turn about: 1 and 0 have the mean 1/2; 3 and 5 have 4."""
    value = torch.tensor([[1.0], [3.0], [0.0], [5.0]])
    assert advantages.center_by_group(value, torch.tensor([0, 1, 0, 1]))[:, 0].tolist() == [0.5, -1.0, -0.5, 1.0]


def test_alike_by_hand() -> None:
    """The group that differs only in turn 2 differs; the others, one of them alone in its group, do not."""
    value = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.3, 0.7]])
    assert advantages.has_zero_variance(value, torch.tensor([0, 1, 0, 1, 2])).tolist() == [
        True,
        False,
        True,
        False,
        True,
    ]


def test_place_at_turn_ends_by_hand() -> None:
    """The last drawn token of each turn, whatever follows it; a turn that was handed in has none; padding has none."""
    turn = torch.tensor([[0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 1, -1], [0, 0, 0, 0, -1, -1]])
    loss_mask = torch.tensor(
        [[False, True, True, False, True, True], [False, False, False, True, True, False], [False, True] + [False] * 4]
    )
    paid = advantages.place_at_turn_ends(torch.tensor([[2.0, 3.0], [5.0, 7.0], [11.0, 13.0]]), turn, loss_mask)
    assert paid.tolist() == [[0, 0, 2, 0, 0, 3], [0, 0, 0, 0, 7, 0], [0, 11, 0, 0, 0, 0]]


def test_whiten_by_hand() -> None:
    """1, 3 and 5 have the mean 3 and the deviation 2 (n - 1). What was not sampled neither counts nor changes."""
    value = torch.tensor([[1.0, 99.0, 3.0], [5.0, 0.0, -99.0]])
    loss_mask = torch.tensor([[True, False, True], [True, False, False]])
    assert torch.allclose(
        advantages.normalize_over_tokens(value, loss_mask), torch.tensor([[-1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    )


@pytest.mark.parametrize("count", [0, 1])
def test_whiten_of_one_or_nothing_is_nothing(count: int) -> None:
    loss_mask = torch.tensor([[count == 1, False]])
    assert advantages.normalize_over_tokens(torch.tensor([[4.0, 5.0]]), loss_mask).tolist() == [[0.0, 0.0]]
