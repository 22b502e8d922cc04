"""Pair-SFT by hand: wrong with right, right with another right, each sample once, and the second reply learnt."""

from __future__ import annotations

from typing import Any

import pytest
from datasets import Dataset
from scripted import IMITATION, Stage, ready, stage
from toys import LOOP
from trl.data_utils import is_conversational

from amend.algo.pair_sft import PairSFT
from amend.types import Scored

KNOBS = {**LOOP, **IMITATION, "turns": 1, "num_iterations": 1, "group_size": 8, "keep_correct": False, "pairs": 9}


def says(prompt: str, sample: int, turn: int) -> str:
    """Samples 0 to 4 are right, and 5 to 7 wrong; each in words of its own."""
    return f"{sample}\\boxed{{{prompt[10] if sample < 5 else 'x'}}}"


def learner(made: Stage, **knobs: Any) -> Any:
    return ready(PairSFT(*made.handed, **{**KNOBS, **knobs}))


def pairs(problems: int = 1, seed: int = 0, **knobs: Any) -> tuple[list[tuple[int, int]], list[Scored]]:
    """The samples that were paired, read off the words, and the pairs."""
    house = stage(says)
    made = learner(house, **knobs)
    made.seed = seed
    found = made.select(made.reward(made.episodes(house.problems(problems))))
    return [(int(one.episode.turns[0].reply.text[0]), int(one.episode.turns[1].reply.text[0])) for one in found], found


def test_wrong_ones_with_right_ones_and_none_twice() -> None:
    """Three are wrong and five right: three pairs."""
    found, made = pairs()
    assert {first for first, _ in found} == {5, 6, 7}
    assert len({second for _, second in found}) == 3 and max(second for _, second in found) < 5
    assert [one.reward for one in made] == [(0.0, 1.0)] * 3


@pytest.mark.parametrize("seed", range(8))
def test_d_plus_has_right_ones_with_other_right_ones_and_none_twice(seed: int) -> None:
    """Five right ones make two pairs, of four different samples."""
    found, made = pairs(seed=seed, keep_correct=True)
    assert len(found) == 5
    both_right = found[3:]
    assert len({sample for pair in both_right for sample in pair}) == 4
    assert [one.reward for one in made[3:]] == [(1.0, 1.0)] * 2


def test_at_most_so_many_of_each_kind_a_problem() -> None:
    assert len(pairs(pairs=2)[0]) == 2
    assert len(pairs(pairs=1, keep_correct=True)[0]) == 2
    assert len(pairs(problems=3, pairs=2)[0]) == 6


def test_lots_are_drawn_by_seed() -> None:
    assert pairs()[0] == pairs()[0]
    assert len({tuple(pairs(seed=seed)[0]) for seed in range(8)}) > 1


def test_a_pair_reads_like_a_correction() -> None:
    """In the tokens of the dialogue, the first reply as context, at temperature 1."""
    (first, second), (trace, *_) = (lambda found: (found[0][0], found[1]))(pairs())
    turns = trace.episode.turns
    assert [turn.is_trained for turn in turns] == [False, True]
    assert [turn.temperature for turn in turns] == [1.0, 1.0]
    text = stage(says).policy.decode(turns[1].prompt + turns[1].reply.tokens)
    assert text == f"<user>Say 0<assistant>{first}\\boxed{{x}}<end><user>Again.<assistant>{second}\\boxed{{0}}"


def test_problems_do_not_mix() -> None:
    """The right reply of each pair boxes its own problem's symbol."""
    for trace in pairs(problems=3, keep_correct=True)[1]:
        assert trace.episode.turns[1].reply.text.endswith(f"\\boxed{{{trace.episode.problem.target}}}")


def test_the_data_is_trls() -> None:
    house = stage(says)
    made = learner(house)
    made.training_step(house.problems(2), 0)
    rows = Dataset.from_list(made.data)
    assert rows.column_names == ["prompt", "completion"] and is_conversational(rows[0])
    assert len(rows) == 6 and [m["role"] for m in rows[0]["prompt"]] == ["user", "assistant", "user"]
