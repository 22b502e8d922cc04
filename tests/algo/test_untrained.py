"""The base model as it is: asked as the dialogue asks, and left alone."""

from __future__ import annotations

import pytest

from amend.algo.untrained import Untrained
from amend.batch import collate
from amend.ops.likelihood import Likelihood
from amend.types import Sampling
from scripted import stage

HOW = [Sampling(0.0, 9), Sampling(0.5, 7)]


def test_it_answers_as_it_is_played() -> None:
    house = stage(lambda prompt, sample, turn: f"{sample}{turn}")
    made = Untrained(*house.handed, max_tokens=9)
    assert made.attempt(house.problems(3), 2, HOW, (5,)) == house.play(house.problems(3), 2, HOW, (5,))
    assert made.attempt(house.problems(1), 1, HOW[:1], (5,)) == house.play(house.problems(1), 1, HOW[:1], (5,))


def test_there_is_nothing_to_train() -> None:
    house = stage(lambda prompt, sample, turn: "0")
    made = Untrained(*house.handed, max_tokens=9)
    batch = collate(house.score(house.play(house.problems(1), 1, HOW, (5,))))
    assert made.rounds == 0 and not made.online and made.max_tokens == 9
    with pytest.raises(NotImplementedError):
        made.credit(batch)
    with pytest.raises(NotImplementedError):
        made.loss(batch, batch.logp, Likelihood(*[batch.logp] * 4))
