"""Rows to arrays: order of rows does not matter, early ends stand, and a table that is not whole is refused."""

from __future__ import annotations

import random

import pytest

from amend.results.metrics.episode_table import select

FIELDS = (
    "phase",
    "decoding",
    "problem",
    "sample",
    "turn",
    "subject",
    "level",
    "correct",
    "answer",
    "text",
    "tokens",
    "stop",
)


def columns(rows):
    return {name: [row[i] for row in rows] for i, name in enumerate(FIELDS)}


def row(problem, sample, turn, correct, phase="base"):
    return (
        phase,
        "greedy",
        problem,
        sample,
        turn,
        "s",
        3,
        correct,
        f"a{turn}",
        f"{problem}{sample}{turn}",
        turn,
        "end",
    )


WHOLE = [row(p, n, k, (n + k) % 2 == 0) for p in "xyz" for n in range(2) for k in (1, 2)]


def test_entries_are_where_their_keys_say_whatever_the_order_of_rows():
    mixed = WHOLE.copy()
    random.Random(0).shuffle(mixed)
    table = select(columns(mixed), "base", "greedy")
    assert table.correct.shape == (3, 2, 2) and table.turns == 2
    for p, problem in enumerate(table.problem):
        for n in range(2):
            assert [table.text[p, n, k] for k in range(2)] == [f"{problem}{n}1", f"{problem}{n}2"]
            assert table.correct[p, n].tolist() == [(n + k) % 2 == 0 for k in (1, 2)]


def test_only_the_asked_phase_and_decoding():
    both = columns([*WHOLE, row("x", 0, 1, True, phase="trained")])
    assert len(select(both, "base", "greedy")) == 3
    assert select(both, "trained", "greedy").correct.shape == (1, 1, 1)
    assert select(both, "trained", "sampled").correct.shape == (0, 0, 0)


def test_an_episode_that_ended_early_stands_by_its_last_attempt():
    table = select(columns([row("x", 0, 1, True), row("y", 0, 1, False), row("y", 0, 2, True)]), "base", "greedy")
    assert table.correct[:, 0].tolist() == [[True, True], [False, True]]
    assert table.text[0, 0].tolist() == ["x01", "x01"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([*WHOLE, row("x", 0, 2, True)], "problem 'x', sample 0, turn 2: two rows"),
        ([*WHOLE, row("w", 0, 1, True)], "problem 'w' has 1 samples, other problems have 2"),
        ([row("x", 0, 2, True)], "turns [2] instead of 1, 2"),
    ],
)
def test_a_table_that_is_not_whole_is_refused_by_name(rows, said):
    with pytest.raises(ValueError, match=said.replace("[", r"\[").replace("]", r"\]")):
        select(columns(rows), "base", "greedy")
