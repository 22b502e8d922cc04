"""The documents that the built-in model is pretrained on: a problem, a first attempt, and a second attempt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from amend.task.dataset.problem_families import FAMILIES, Family, ProblemParams
from amend.task.dataset.splits import part

OPENERS = {"read": "So ", "change": "Rather ", "restart": "Again "}
PHRASES = [
    "Solve for x: ", "Write ", " as a product of two factors.", "Find two numbers with sum ", " and product ",
    "Compute ", "Make ", " from ", " and ", " low", " high", " ok", " \\boxed{", "x=", ": ", ", ", *OPENERS.values(),
]  # fmt: skip
TRIES = 20  # to find another near miss than the first attempt


@dataclass(frozen=True)
class Habits:
    """How documents are written. Each mix is the chance of (read, change, restart).

    first_right: chance that an attempt made afresh is right
    sound:       the mix after a first attempt that came out right, at levels below ``hard``
    doubtful:    the same at level ``hard`` and above, where writers doubt more
    failed:      the mix after an attempt whose check failed
    luck:        chance that a writer who changes a failed attempt happens on a right one
    """

    first_right: float
    hard: int
    sound: Sequence[float]
    doubtful: Sequence[float]
    failed: Sequence[float]
    luck: float


class Document(NamedTuple):
    """A question and two attempts at it."""

    question: str
    first: str
    second: str


def document(rng: np.random.Generator, habits: Habits) -> Document:
    """A document about a training question of any family and level."""
    family = list(FAMILIES.values())[int(rng.integers(len(FAMILIES)))]
    level = int(rng.integers(1, 6))
    facts = family.pose(rng, level)
    while part(question := family.ask(facts)) != "train":
        facts = family.pose(rng, level)
    first = attempt(family, facts, habits, rng)
    opener, second = again(family, facts, first, level, habits, rng)
    return Document(question, family.work(facts, first), opener + family.work(facts, second))


def attempt(family: Family, facts: ProblemParams, habits: Habits, rng: np.random.Generator) -> str:
    """A candidate made afresh."""
    return family.gold(facts) if rng.random() < habits.first_right else family.near(facts, rng)


def again(
    family: Family, facts: ProblemParams, first: str, level: int, habits: Habits, rng: np.random.Generator
) -> tuple[str, str]:
    """The opener and candidate of a second attempt."""
    sound = family.right(facts, first)
    mix = (habits.doubtful if level >= habits.hard else habits.sound) if sound else habits.failed
    habit = ("read", "change", "restart")[int(rng.choice(3, p=mix))]
    if habit == "read":
        return OPENERS[habit], first if sound else family.gold(facts)
    if habit == "restart":
        return OPENERS[habit], attempt(family, facts, habits, rng)
    if not sound and rng.random() < habits.luck:
        return OPENERS[habit], family.gold(facts)
    other = family.near(facts, rng)
    for _ in range(TRIES):
        if other != first:
            break
        other = family.near(facts, rng)
    return OPENERS[habit], other
