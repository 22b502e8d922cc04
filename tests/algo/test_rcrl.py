"""RCRL by hand: each episode under the tag it has earned, as many wrong ones as right ones, decoded under [GOOD]."""

from __future__ import annotations

from typing import Any

import pytest
from datasets import Dataset
from scripted import IMITATION, Line, Stage, always, ready, stage
from toys import LOOP
from trl.data_utils import is_conversational

from amend.algo.rcrl import RCRL
from amend.types import SamplingParams, Scored

KNOBS = {**LOOP, **IMITATION, "turns": 1, "num_iterations": 2, "group_size": 4, "tags": "end", "balance": False}


def says(prompt: str, sample: int, turn: int) -> str:
    """Two lines, of which the second states the answer: the first sample right, the other three wrong."""
    return f"{sample}.\n\\boxed{{{'0' if sample == 0 else 'x'}}}"


def learner(made: Stage, **knobs: Any) -> Any:
    return ready(RCRL(*made.handed, **{**KNOBS, **knobs}))


def selected(line: Line = says, **knobs: Any) -> tuple[list[str], list[Scored]]:
    """The whole text of each trace of "Say 0", and the traces."""
    house = stage(line)
    made = learner(house, **knobs)
    kept = made.select(made.reward(made.episodes(house.problems(1))))
    turns = [one.episode.turns[-1] for one in kept]
    return [house.policy.decode(turn.prompt + turn.reply.tokens) for turn in turns], kept


def test_one_tag_at_the_end_of_the_question() -> None:
    """The right one first, and none left out."""
    texts, kept = selected()
    assert texts == [
        "<user>Say 0 [GOOD]<assistant>0.\n\\boxed{0}",
        "<user>Say 0 [BAD]<assistant>1.\n\\boxed{x}",
        "<user>Say 0 [BAD]<assistant>2.\n\\boxed{x}",
        "<user>Say 0 [BAD]<assistant>3.\n\\boxed{x}",
    ]
    assert [one.reward for one in kept] == [(1.0,), (0.0,), (0.0,), (0.0,)]
    assert all(turn.is_trained and turn.temperature == 1.0 for one in kept for turn in one.episode.turns)


def test_one_tag_before_each_step() -> None:
    texts, _ = selected(tags="steps")
    assert texts[:2] == [
        "<user>Say 0<assistant>[GOOD]0.\n[GOOD]\\boxed{0}",
        "<user>Say 0<assistant>[BAD]1.\n[BAD]\\boxed{x}",
    ]


def test_the_tags_of_an_earlier_iteration_are_not_learnt_again() -> None:
    """A reply that was drawn under tags, and turned out wrong, has the bad ones now."""
    texts, _ = selected(always("[GOOD]1.\n[BAD]\\boxed{x}"), tags="steps")
    assert texts == ["<user>Say 0<assistant>[BAD]1.\n[BAD]\\boxed{x}"] * 4


@pytest.mark.parametrize("tags", ["end", "steps"])
def test_the_tokens_end_as_the_model_ends(tags: str) -> None:
    for one in selected(tags=tags)[1]:
        assert one.episode.turns[0].reply.tokens[-1] == 4


def test_balance_leaves_no_more_wrong_ones_than_right_ones() -> None:
    assert [one.episode.sample for one in selected(balance=True)[1]] == [0, 1]
    assert [one.episode.sample for one in selected(always("0"), balance=True)[1]] == [0, 1, 2, 3]
    assert selected(always("x"), balance=True)[1] == []


def test_of_two_turns_the_first_is_told() -> None:
    """Right, then wrong: good."""
    texts, kept = selected(lambda prompt, sample, turn: "0x"[turn], turns=2)
    assert texts == ["<user>Say 0 [GOOD]<assistant>0"] * 4
    assert [one.reward for one in kept] == [(1.0,)] * 4


def test_it_answers_under_the_good_tag() -> None:
    """The prompt has it, in the second turn too; the episode is about the problem as it was posed."""
    house = stage(says)
    (episode,) = learner(house).generate(house.problems(1), 1, [SamplingParams(0.0, 9)] * 2, (5,))
    assert house.engine.heard == [
        "<user>Say 0 [GOOD]<assistant>",
        "<user>Say 0 [GOOD]<assistant>0.\n\\boxed{0}<end><user>Again.<assistant>",
    ]
    assert episode.problem == house.problems(1)[0]
    assert len(episode.turns) == 2


def test_it_begins_with_the_good_tag() -> None:
    """Which is context: what it says goes on from there, and is judged with it."""
    house = stage(says)
    made = learner(house, tags="steps")
    (episode,) = made.generate(house.problems(1), 1, [SamplingParams(0.0, 9)], (5,))
    assert house.engine.heard == ["<user>Say 0<assistant>[GOOD]"]
    assert episode.turns[0].reply.text == "[GOOD]0.\n\\boxed{0}"
    assert made.reward([episode])[0].reward == (1.0,)


@pytest.mark.parametrize(("tags", "mark"), [("end", " [GOOD]<assistant>"), ("steps", "<assistant>[GOOD]")])
def test_it_gathers_as_the_base_model_answers_until_it_knows_the_tags(tags: str, mark: str) -> None:
    """Two iterations of a round each: plain in the first, under the good tag in the second."""
    house = stage(says)
    made = learner(house, tags=tags, iterations=2)
    made.training_step(house.problems(2), 0)
    assert not any("[" in heard for heard in house.engine.heard)
    house.engine.heard.clear()
    made.training_step(house.problems(2), 0)
    assert len(house.engine.heard) == 8 and all(heard.endswith(mark) for heard in house.engine.heard)


@pytest.mark.parametrize(
    ("tags", "prompt", "completion"),
    [("end", "Say 0 [GOOD]", "0.\n\\boxed{0}"), ("steps", "Say 0", "[GOOD]0.\n[GOOD]\\boxed{0}")],
)
def test_the_data_is_trls(tags: str, prompt: str, completion: str) -> None:
    house = stage(says)
    made = learner(house, num_iterations=1, tags=tags)
    made.training_step(house.problems(1), 0)
    rows = Dataset.from_list(made.data)
    assert rows.column_names == ["prompt", "completion"] and is_conversational(rows[0])
    assert rows[0] == {
        "prompt": [{"role": "user", "content": prompt}],
        "completion": [{"role": "assistant", "content": completion}],
    }
