"""The built-in problems: made from a seed, graded in microseconds, nothing to download.

A problem is a pure function of (seed, split, index): its generator is ``SeedSequence([seed, split, index])``, so
neighbouring indices and seeds share nothing. The splits cannot overlap: the space of questions itself is divided by a
hash of the question's words, and a draw that falls into another split's part is drawn again. The training split has no
end; validation and test are fixed lists of distinct questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from amend.errors import UserError
from amend.task.dataset.lazy import LazyProblems, distinct
from amend.task.dataset.problem_families import FAMILIES
from amend.task.dataset.splits import SPLITS, Split, part
from amend.task.grading.extract_answer import boxed
from amend.types import Message, Problem, Verdict

SEED = 20240919  # the day SCoRe appeared; part of what the test set is, so not a knob
ENDLESS = 2**31 - 1  # training problems: as many as anybody asks for


class Builtin:
    """Problems of the chosen families and levels; ``validation`` and ``test`` are the sizes of the fixed sets."""

    def __init__(self, *, families: Sequence[str], levels: Sequence[int], validation: int, test: int) -> None:
        unknown = [name for name in families if name not in FAMILIES]
        if unknown or not families:
            raise UserError(f"task.families={list(families)}: no family {unknown}; allowed: some of {list(FAMILIES)}")
        if not levels or not set(levels) <= {1, 2, 3, 4, 5}:
            raise UserError(f"task.levels={list(levels)}: allowed: some of 1, 2, 3, 4, 5")
        self._families, self._levels = list(families), list(levels)
        self._sizes = {"val": validation, "test": test}
        self._fixed: dict[str, list[Problem]] = {}

    def problem(self, split: Split, index: int) -> Problem:
        """The problem that (split, index) names. Pure: the same on every machine and in every run."""
        rng = np.random.default_rng(np.random.SeedSequence([SEED, SPLITS.index(split), index]))
        family = FAMILIES[self._families[int(rng.integers(len(self._families)))]]
        level = self._levels[int(rng.integers(len(self._levels)))]
        facts = family.pose(rng, level)
        while part(question := family.ask(facts)) != split:
            facts = family.pose(rng, level)
        gold = family.gold(facts)
        meta = {
            "family": family.name,
            "subject": family.subject,
            "level": level,
            "facts": facts,
            "solution": family.work(facts, gold),
        }
        return Problem(id=f"builtin-{split}-{index}", question=question, target=gold, meta=meta)

    def problems(self, split: Split) -> Sequence[Problem]:
        """All problems of a split; UserError where the families and levels have too few distinct ones."""
        if split == "train":
            return LazyProblems(partial(self.problem, split), ENDLESS)
        if split not in self._fixed:
            self._fixed[split] = self._distinct(split, self._sizes[split])
        return self._fixed[split]

    def _distinct(self, split: Split, count: int) -> list[Problem]:
        found = distinct(partial(self.problem, split), count)
        if len(found) < count:
            raise UserError(
                f"task.{'test' if split == 'test' else 'validation'}={count}: these families and levels have only "
                f"{len(found)} distinct problems in that split; ask for fewer, or allow more families or levels"
            )
        return found

    def render_prompt(self, problem: Problem) -> list[Message]:
        """The conversation that poses the problem: the question, and nothing else."""
        return [Message("user", problem.question)]

    def grade(self, problem: Problem, reply: str) -> Verdict:
        """Is the last boxed answer of the reply right? Total: any string gets a verdict."""
        answer = boxed(reply)
        if answer is None:
            return Verdict(None, False, "no answer")
        right = FAMILIES[problem.meta["family"]].right(problem.meta["facts"], answer)
        return Verdict(answer, right, "right" if right else "wrong")

    def grade_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """``check`` for each pair of problem and reply."""
        return [self.grade(problem, reply) for problem, reply in pairs]
