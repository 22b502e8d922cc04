"""Collation by hand, and the gradient that must not depend on how a minibatch is cut (law 4)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from toys import completion, episode, scored

from amend.batch import collate, micro_batches
from amend.types import Turn


def test_two_by_four_by_hand() -> None:
    """One whole episode, one shorter: tokens, turns, what was drawn, padding from lengths alone."""
    batch = collate([
        scored(episode([([2, 5], [6]), ([2], [4])]), (0, 1)),
        scored(episode([([2], [0]), ([0], [0])], name="q"), (1, 0)),  # pad's own id, drawn: kept and trained
    ])  # fmt: skip
    assert batch.tokens.tolist() == [[2, 5, 6, 2, 4], [2, 0, 0, 0, 0]]
    assert batch.turn.tolist() == [[0, 0, 0, 1, 1], [0, 0, 1, 1, -1]]
    assert batch.loss_mask.tolist() == [[False, False, True, False, True], [False, True, False, True, False]]
    assert batch.old_logprobs.tolist() == [[0, 0, -1, 0, -1], [0, -1, 0, -1, 0]]
    assert batch.group_id.tolist() == [0, 1]


def test_an_end_token_that_is_also_the_pad_token_is_trained_once() -> None:
    batch = collate([scored(episode([([2], [5, 0])]), (1,)), scored(episode([([2], [5, 5, 5, 0])]), (1,))])
    assert batch.loss_mask.tolist() == [[False, True, True, False, False], [False, True, True, True, True]]


def test_a_prompt_that_does_not_extend_the_turn_before_is_refused() -> None:
    e = episode([([2, 5], [6]), ([2], [4])])
    broken = replace(e, turns=(e.turns[0], Turn((9, 9, 9, 9), completion([4]))))
    with pytest.raises(ValueError, match="turn 2 does not extend"):
        collate([scored(broken, (0, 0))])


@pytest.mark.parametrize("tokens", [1, 7, 20, 31, 1000])
def test_micro_batches_cover_every_row_once_within_the_budget(tokens: int) -> None:
    batch = collate([scored(episode([([2] * n, [4])]), (0,)) for n in (9, 1, 5, 3, 30, 2)])
    pieces = [rows for rows, _ in micro_batches(batch, tokens)]
    assert sorted(int(i) for piece in pieces for i in piece) == list(range(6))
    for piece in pieces:
        assert len(piece) == 1 or batch.rows(piece).tokens.numel() <= tokens


def test_a_problems_episodes_stand_side_by_side_where_they_are_alike_in_length() -> None:
    """So that their common beginning is read once; of a part of a batch too, whose groups keep their numbers."""
    lengths = {"a": (20, 21), "b": (21, 20), "c": (40, 400)}
    batch = collate([scored(episode([([2] * lengths[q][n], [4])], name=q), (0,)) for n in (0, 1) for q in lengths])
    order = [int(i) for rows, _ in micro_batches(batch, 1) for i in rows]
    assert order == [5, 2, 0, 3, 1, 4]  # the long ones, then the first problem's, then the second's
    assert [int(i) for rows, _ in micro_batches(batch.rows(torch.tensor([2, 5])), 1) for i in rows] == [1, 0]


def test_one_long_reply_a_problem_does_not_fill_the_others_rows() -> None:
    lengths = [(400, *range(60 + q, 67 + q)) for q in range(8)]
    batch = collate(
        [scored(episode([([2] * n, [4])], name=str(q)), (0,)) for q, own in enumerate(lengths) for n in own]
    )
    pieces = [batch.rows(rows) for rows, _ in micro_batches(batch, 1024)]
    assert sum(piece.tokens.numel() for piece in pieces) < 1.25 * int((batch.turn >= 0).sum())


def test_rows_are_cut_to_their_longest() -> None:
    batch = collate([scored(episode([([2] * n, [4])]), (0,)) for n in (9, 1, 5)])
    assert batch.rows(torch.tensor([1, 2])).tokens.shape == (2, 6)
