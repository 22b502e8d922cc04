"""The built-in math problems, which are generated from a seed and need no download.

A problem is a pure function of (seed, split, index). Its random generator is ``SeedSequence([seed, split, index])``, so
adjacent indices and seeds give independent problems. The splits are disjoint, because a hash of the question determines
its split. The generator samples again until the question belongs to the requested split. The training split is
practically unlimited. Validation and test are fixed lists of distinct questions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from amend.errors import UserError
from amend.task.dataset.lazy import LazyProblems, distinct
from amend.task.dataset.problem_families import FAMILIES
from amend.task.dataset.splits import SPLITS, Split, part
from amend.task.grading.extract_answer import extract_answer
from amend.types import Message, Problem, Verdict

SEED = 20240919  # publication date of SCoRe; no option, because it defines the test set
ENDLESS = 2**31 - 1  # length of the training split


class Builtin:
    """Built-in problems with their grader.

    Args:
        families: Names of the problem families, see ``problem_families``.
        levels: Difficulty levels, from 1 to 5.
        validation: Number of validation problems.
        test: Number of test problems.

    Raises:
        UserError: If a family or level is unknown.
    """

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
        """Return one problem, which is the same on every machine and in every run.

        Args:
            split: Name of the split.
            index: Index of the problem, at least 0.

        Returns:
            The problem. ``meta`` contains its family, subject, level, parameters ("facts") and worked solution.
        """
        rng = np.random.default_rng(np.random.SeedSequence([SEED, SPLITS.index(split), index]))
        family = FAMILIES[self._families[int(rng.integers(len(self._families)))]]
        level = self._levels[int(rng.integers(len(self._levels)))]
        facts = family.sample(rng, level)
        while part(question := family.question(facts)) != split:
            facts = family.sample(rng, level)
        gold = family.target(facts)
        meta = {
            "family": family.name,
            "subject": family.subject,
            "level": level,
            "facts": facts,
            "solution": family.solution(facts, gold),
        }
        return Problem(id=f"builtin-{split}-{index}", question=question, target=gold, meta=meta)

    def problems(self, split: Split) -> Sequence[Problem]:
        """Return the problems of a split.

        Args:
            split: Name of the split.

        Returns:
            The problems. "train" is a lazy sequence; "val" and "test" are lists.

        Raises:
            UserError: If the families and levels have too few distinct problems.
        """
        if split == "train":
            return LazyProblems(partial(self.problem, split), ENDLESS)
        if split not in self._fixed:
            self._fixed[split] = self._distinct(split, self._sizes[split])
        return self._fixed[split]

    def _distinct(self, split: Split, count: int) -> list[Problem]:
        problems = distinct(partial(self.problem, split), count)
        if len(problems) < count:
            raise UserError(
                f"task.{'test' if split == 'test' else 'validation'}={count}: these families and levels have only "
                f"{len(problems)} distinct problems in that split; allowed: fewer problems, or more families or levels"
            )
        return problems

    def render_prompt(self, problem: Problem) -> list[Message]:
        """Return the question as the only message."""
        return [Message("user", problem.question)]

    def grade(self, problem: Problem, reply: str) -> Verdict:
        """Grade the last boxed answer of a reply. Any string is a valid reply."""
        answer = extract_answer(reply)
        if answer is None:
            return Verdict(None, False, "no answer")
        right = FAMILIES[problem.meta["family"]].is_right(problem.meta["facts"], answer)
        return Verdict(answer, right, "right" if right else "wrong")

    def grade_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """Grade many replies, in order."""
        return [self.grade(problem, reply) for problem, reply in pairs]
