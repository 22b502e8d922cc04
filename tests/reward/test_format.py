"""Form alone: paid where a reply has an answer and an end, right or wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from composed import composed

from amend.components import to_kwargs
from amend.errors import UserError
from amend.reward import CompositeReward, Reward
from amend.reward.format import Format, verdicts
from amend.reward.length import Length
from amend.reward.oracle import Oracle
from amend.task.identity import Identity
from amend.types import Episode, Verdict

Build = Callable[..., Episode]
TASK = Identity(symbols=4, test=4)
ZERO, ONE, *_ = TASK.problems("test")


def cut(episode: Episode) -> Episode:
    """The episode with its last reply cut at the length limit."""
    last = episode.turns[-1]
    return replace(episode, turns=(*episode.turns[:-1], replace(last, reply=replace(last.reply, stop="length"))))


def test_an_answer_and_an_end_are_paid_right_or_wrong(episode: Build) -> None:
    part = Format(TASK, weight=1.0)
    assert isinstance(part, Reward)
    paid = part([episode(ZERO, "0", "3"), episode(ZERO, " ", "0"), cut(episode(ONE, "1", "1")), episode(ONE, "1")])
    np.testing.assert_array_equal(paid, [[1, 1], [0, 1], [1, 0], [1, 0]])
    assert part([]).shape == (0, 0)


def test_equal_replies_are_checked_once_and_each_problem_for_itself(episode: Build) -> None:
    asked: list[int] = []

    class Counting(Identity):
        def grade_many(self, pairs: object) -> list[Verdict]:
            asked.append(len(pairs))  # type: ignore[arg-type]
            return super().grade_many(pairs)  # type: ignore[arg-type]

    said = verdicts(Counting(symbols=4, test=4), [episode(ZERO, "0", "0"), episode(ONE, "0"), episode(ONE, "0", "1")])
    assert asked == [3]
    assert [[verdict.correct for verdict in turns] for turns in said] == [[True, True], [False], [False, True]]


def test_parts_are_composed_on_the_command_line_and_logged_one_by_one(episode: Build) -> None:
    words = ["reward=[format,length]", "reward.format.weight=0.25", "reward.length.weight=2", "algo.max_tokens=8"]
    cfg = composed(*words, "reward.length.buffer=4")
    assert set(cfg.reward) == {"oracle", "format", "length"}
    classes = {"oracle": Oracle, "format": Format, "length": Length}
    score = CompositeReward(
        {name: classes[name](TASK, **to_kwargs(knobs)) for name, knobs in cfg.reward.items()}, max_failures=0.0
    )
    right, empty, over = score([episode(ZERO, "0"), episode(ZERO, ""), cut(episode(ZERO, "0"))])
    assert right.reward == (1.25,) and right.parts == {"oracle": (1.0,), "format": (1.0,), "length": (0.0,)}
    assert empty.reward == (0.0,) and empty.parts == {"oracle": (0.0,), "format": (0.0,), "length": (0.0,)}
    assert over.reward == (-1.0,) and over.parts == {"oracle": (1.0,), "format": (0.0,), "length": (-1.0,)}


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["reward=format"], ["oracle", "format"]),
        (["reward=[oracle,length]"], ["oracle", "length"]),
        (["+reward.format.weight=0.1"], ["oracle", "format"]),
        (["reward=[format,length]", "~reward.oracle"], ["format", "length"]),
    ],
)
def test_every_way_to_compose_them(words: list[str], parts: list[str]) -> None:
    assert list(composed(*words).reward) == parts


def test_a_weight_below_zero_is_refused() -> None:
    with pytest.raises(UserError, match=r"reward\.format\.weight=-1"):
        Format(TASK, weight=-1.0)
