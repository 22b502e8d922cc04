"""Best of n by hand: the likeliest reply by the token, of those drawn for that very sample."""

from __future__ import annotations

from typing import Any

import pytest
from scripted import Stage, stage
from toys import problem

from amend.algo.best_of_n import BestOfN, likelihood
from amend.types import Completion, Episode, SamplingParams, Turn

HOW = [SamplingParams(0.0, 9), SamplingParams(0.3, 7)]
TEXTS = ["1", "2222", "3", "4", "5", "6"]
LOGP = {"1": -1.0, "2222": -0.5, "3": -2.0, "4": -3.0, "5": -2.5, "6": -2.5}


def learner(house: Stage, **knobs: Any) -> BestOfN:
    return BestOfN(*house.handed, **{"max_tokens": 9, "n": 3, "temperature": 0.7, **knobs})


@pytest.mark.parametrize(("logp", "mean"), [((-1.0, -2.0, -6.0), -3.0), ((-4.0,), -4.0), ((), 0.0)])
def test_likelihood_is_a_mean_over_tokens(logp: tuple[float, ...], mean: float) -> None:
    reply = Completion((5,) * len(logp), logp, "", "end")
    assert likelihood(Episode(problem(), 0, (Turn((2,), reply),))) == mean


def test_the_likeliest_reply_is_the_second_attempt() -> None:
    """Sample 0 chooses among "1", "2222" and "3": the second, whose five tokens are the likeliest each though not
    together (-2.5 against -2). Sample 1 among "4", "5" and "6": the first of two equals."""
    house = stage(lambda prompt, sample, turn: TEXTS[sample], LOGP)
    found = learner(house).generate(house.problems(2), 2, HOW, (5,))
    assert [(e.problem.id, e.sample) for e in found] == [(p.id, s) for p in house.problems(2) for s in range(2)]
    assert [[t.reply.text for t in e.turns] for e in found] == [["1", "2222"], ["2222", "5"]] * 2
    assert house.engine.sampling_params == [HOW[0]] * 4 + [SamplingParams(0.7, 7)] * 12
    assert all("Again." not in heard for heard in house.engine.heard)


def test_one_turn_is_the_plain_attempt() -> None:
    house = stage(lambda prompt, sample, turn: TEXTS[sample], LOGP)
    plain = house.runner(house.problems(1), 2, HOW[:1], (5,))
    assert learner(house).generate(house.problems(1), 2, HOW[:1], (5,)) == plain
