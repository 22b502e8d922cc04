"""Self-Refine: attempt, feedback, attempt; what counts is the first reply and the third."""

from __future__ import annotations

from scripted import always, stage

from amend.algo.self_refine import SelfRefine
from amend.dialogue import SelfRefine as Dialogue
from amend.evaluation.evaluate import evaluate
from amend.types import SamplingParams

HOW = [SamplingParams(0.0, 9)] * 3


def test_its_attempts_are_the_first_reply_and_the_third() -> None:
    """The second speaks of the first, and the third is asked for with both in view."""
    house = stage(
        lambda prompt, sample, turn: ("x", "It is not x.", "0")[turn],
        dialogue=Dialogue(feedback="What is wrong?", refine="Now rewrite it."),
    )
    made = SelfRefine(*house.handed, max_tokens=9)
    table = evaluate(made.generate, made.runner.attempts, house.task, house.problems(1), "base", "greedy", 1, HOW)
    assert made.runner.attempts == (0, 2)
    assert (table["turn"], table["text"], table["correct"]) == ([1, 2], ["x", "0"], [False, True])
    assert house.engine.heard[-1] == (
        "<user>Say 0<assistant>x<end><user>What is wrong?<assistant>It is not x.<end><user>Now rewrite it.<assistant>"
    )


def test_what_is_asked_does_not_depend_on_whether_it_was_right() -> None:
    asked = []
    for first in "0x":
        house = stage(always(first), dialogue=Dialogue(feedback="Wrong?", refine="Rewrite."))
        SelfRefine(*house.handed, max_tokens=9).generate(house.problems(1), 1, HOW, (5,))
        asked.append([heard.replace(f"<assistant>{first}", "<assistant>") for heard in house.engine.heard])
    assert asked[0] == asked[1]
