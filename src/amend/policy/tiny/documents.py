"""Synthetic pretraining documents of the built-in model: a problem, a first attempt, and a second attempt.

The first attempt is right or a near miss. Its text includes a check of the result, such as "3 low". The second attempt
begins with an opener that shows one of three habits:

    read       "So": read the check; keep a right attempt, correct a wrong one
    change     "Rather": give a different answer, regardless of the check
    restart    "Again": make a new attempt, independent of the first one
"""

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
TRIES = 20  # number of samples to find a near miss that differs from the first attempt


@dataclass(frozen=True)
class Habits:
    """Probabilities of a document. A mix has the probabilities of (read, change, restart).

    Attributes:
        first_right: Probability that a new attempt is right.
        hard: Level from which right attempts are doubted more often.
        sound: Mix after a right first attempt at a level below ``hard``.
        doubtful: Mix after a right first attempt at level ``hard`` or above.
        failed: Mix after a wrong first attempt.
        luck: Probability that the habit "change" turns a wrong attempt into a right one.
    """

    first_right: float
    hard: int
    sound: Sequence[float]
    doubtful: Sequence[float]
    failed: Sequence[float]
    luck: float


class Document(NamedTuple):
    """A question and two attempts to solve it."""

    question: str
    first: str
    second: str


def sample_document(rng: np.random.Generator, habits: Habits) -> Document:
    """Sample a document about a question of the training split, of any family and level.

    Args:
        rng: Random generator.
        habits: Probabilities of the attempts.

    Returns:
        The question and two attempts, as text.
    """
    family = list(FAMILIES.values())[int(rng.integers(len(FAMILIES)))]
    level = int(rng.integers(1, 6))
    facts = family.sample(rng, level)
    while part(question := family.question(facts)) != "train":
        facts = family.sample(rng, level)
    first = sample_attempt(family, facts, habits, rng)
    opener, second = sample_second_attempt(family, facts, first, level, habits, rng)
    return Document(question, family.solution(facts, first), opener + family.solution(facts, second))


def sample_attempt(family: Family, facts: ProblemParams, habits: Habits, rng: np.random.Generator) -> str:
    """Sample a new attempt: the gold answer with probability ``first_right``, else a near miss."""
    return family.target(facts) if rng.random() < habits.first_right else family.near_miss(facts, rng)


def sample_second_attempt(
    family: Family, facts: ProblemParams, first: str, level: int, habits: Habits, rng: np.random.Generator
) -> tuple[str, str]:
    """Sample a second attempt.

    Args:
        family: Family of the problem.
        facts: Parameters of the problem.
        first: Answer of the first attempt.
        level: Level of the problem.
        habits: Probabilities of the attempts.
        rng: Random generator.

    Returns:
        The opener and the answer of the second attempt.
    """
    is_right = family.is_right(facts, first)
    mix = (habits.doubtful if level >= habits.hard else habits.sound) if is_right else habits.failed
    habit = ("read", "change", "restart")[int(rng.choice(3, p=mix))]
    if habit == "read":
        return OPENERS[habit], first if is_right else family.target(facts)
    if habit == "restart":
        return OPENERS[habit], sample_attempt(family, facts, habits, rng)
    if not is_right and rng.random() < habits.luck:
        return OPENERS[habit], family.target(facts)
    other = family.near_miss(facts, rng)
    for _ in range(TRIES):
        if other != first:
            break
        other = family.near_miss(facts, rng)
    return OPENERS[habit], other
