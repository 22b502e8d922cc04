"""Self-consistency by hand: the vote, its ties, and replies that do not vote."""

from __future__ import annotations

from typing import Any

import pytest
from scripted import Line, Stage, stage

from amend.algo.self_consistency import SelfConsistency
from amend.types import SamplingParams

HOW = [SamplingParams(0.0, 9), SamplingParams(0.3, 7)]


def learner(house: Stage, **knobs: Any) -> SelfConsistency:
    return SelfConsistency(*house.handed, **{"max_tokens": 9, "num_votes": 4, "temperature": 0.7, **knobs})


def replies(texts: list[str]) -> Line:
    """What each sample says, whoever asks."""
    return lambda prompt, sample, turn: texts[sample]


@pytest.mark.parametrize(
    ("texts", "elected"),
    [
        (["1", "2", "2", "3"], 1),  # two votes against one and one; the first who gave it speaks
        (["1", "2", "2", "1"], 0),  # a tie: the answer that was given first
        (["3", "2", "1", "2"], 1),
        (["", "", "", "7"], 3),  # a reply without an answer has no vote, however many they are
        (["", "", "", ""], 0),
        (["1", "I say \\boxed{2}", "2", "1x"], 1),  # the same answer in other words
    ],
)
def test_the_vote(texts: list[str], elected: int) -> None:
    house = stage(replies(texts))
    made = learner(house)
    voters = house.runner(house.problems(1), 4, HOW[:1], (0,))
    assert made.elected(voters) is voters[elected]


def test_the_elected_reply_is_the_second_attempt() -> None:
    """Of two samples, each has four voters: its first attempt, as asked, and three of its own, at their heat."""
    house = stage(replies(["1", "2", "2", "0", "3", "3"]))  # sample 0: 1, then 1, 2, 2; sample 1: 2, then 0, 3, 3
    found = learner(house).generate(house.problems(2), 2, HOW, (5,))
    assert [(e.problem.id, e.sample) for e in found] == [(p.id, s) for p in house.problems(2) for s in range(2)]
    assert [[t.reply.text for t in e.turns] for e in found] == [["1", "1"], ["2", "3"]] * 2
    assert house.engine.sampling_params == [HOW[0]] * 4 + [SamplingParams(0.7, 7)] * 12
    assert all("Again." not in heard for heard in house.engine.heard)
    assert all(e.turns[1].prompt == e.turns[0].prompt for e in found)


def test_voters_draw_from_streams_of_their_own() -> None:
    """Not from the first attempt's: another seed, so that no vote is cast twice."""
    house = stage(replies(["1"] * 4))
    learner(house).generate(house.problems(1), 1, HOW, (5,))
    assert len(house.engine.seeds) == len(set(house.engine.seeds)) == 4


def test_one_turn_is_the_plain_attempt() -> None:
    house = stage(replies(["1"] * 4))
    assert learner(house).generate(house.problems(1), 1, HOW[:1], (5,)) == house.runner(
        house.problems(1), 1, HOW[:1], (5,)
    )
