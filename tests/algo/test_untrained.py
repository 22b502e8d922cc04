"""The base model as it is: asked as the dialogue asks, and left alone."""

from __future__ import annotations

from scripted import stage

from amend.algo.base import Algorithm, GenerationStrategy
from amend.algo.untrained import Untrained
from amend.types import SamplingParams

HOW = [SamplingParams(0.0, 9), SamplingParams(0.5, 7)]


def test_it_answers_as_it_is_played() -> None:
    house = stage(lambda prompt, sample, turn: f"{sample}{turn}")
    made = Untrained(*house.handed, max_tokens=9)
    assert made.generate(house.problems(3), 2, HOW, (5,)) == house.runner(house.problems(3), 2, HOW, (5,))
    assert made.generate(house.problems(1), 1, HOW[:1], (5,)) == house.runner(house.problems(1), 1, HOW[:1], (5,))


def test_there_is_nothing_to_train() -> None:
    """It only generates: it is no Lightning module, and has no advantages and no loss."""
    made = Untrained(*stage(lambda prompt, sample, turn: "0").handed, max_tokens=9)
    assert made.num_iterations == 0 and not made.online and made.max_tokens == 9
    assert isinstance(made, GenerationStrategy) and not isinstance(made, Algorithm)
    assert not hasattr(made, "advantages") and not hasattr(made, "loss")
