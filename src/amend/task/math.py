"""Mathematics: one class and one schema over the built-in problems and the real MATH.

Every problem has in ``meta``: level (1-5; 0 where MATH says "Level ?"), subject and solution ("" where the file has
none). Built-in problems beside these have family and facts, and are checked by exact arithmetic on the facts, for
several answers may be right. MATH is checked against its gold answer by ``Grader``.

MATH is posed zero-shot, in SCoRe's words (arXiv 2409.12917, Appendix C), which ask for "Final Answer: The final answer
is $answer$". An answer in ``\\boxed{}``, which open models know, is read as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from amend.errors import UserError
from amend.task.dataset.hendrycks_math import Hendrycks, gold
from amend.task.dataset.jsonl import text
from amend.task.dataset.problem_families import FAMILIES, ProblemParams
from amend.task.dataset.procedural_math import Builtin
from amend.task.dataset.splits import SPLITS, Split
from amend.task.grading.math_grader import Grader
from amend.types import Message, Problem, Verdict
from amend.value_types import Count, Level, Natural

SECONDS = 3.0  # the most that one hostile answer may delay a batch by
_BUILTIN_ID = re.compile(r"builtin-(train|val|test)-([0-9]{1,10})")


class Math:
    """The task of solving mathematical problems.

    ``source`` is "builtin", "hendrycks", a hub id or a folder (see ``hendrycks``). ``prompt`` poses a real problem, put
    where it says {question}; the built-in ones are asked as the built-in model knows them. ``families`` chooses among
    these and means nothing elsewhere. ``validation`` and ``test`` are numbers of problems; a source with
    fewer test problems gives all it has. ``provenance`` tells where rows came from (empty for the built-in problems).
    """

    def __init__(
        self, *, source: str, prompt: str, levels: list[Level], families: list[str], validation: Natural, test: Count
    ) -> None:
        if "{question}" not in prompt:
            raise UserError(f"task.prompt={prompt[:40]}: allowed: any text with {{question}} where the problem goes")
        self._prompt = prompt
        if validation < 0 or test < 1:
            raise UserError(f"task.validation={validation}, task.test={test}: allowed: at least 0, and at least 1")
        self.provenance: dict[str, dict[str, str | int]] = {}
        self._grader = Grader(seconds=SECONDS)
        self._builtin: Builtin | None = None
        self._real: Hendrycks | None = None
        if source == "builtin":
            self._builtin = Builtin(families=families, levels=levels, validation=validation, test=test)
        else:
            self._real = Hendrycks(source, levels=levels, validation=validation, test=test)
            self.provenance = self._real.provenance

    def problems(self, split: Split) -> Sequence[Problem]:
        """The problems of a split: for "builtin" the training split is endless, the others are fixed."""
        return (self._builtin or self._source()).problems(split)

    def render_prompt(self, problem: Problem) -> list[Message]:
        """The conversation that poses the problem. Built-in ones are asked as the built-in model knows them."""
        if self._builtin is not None and "facts" in problem.meta:
            return self._builtin.render_prompt(problem)
        return [Message("user", self._prompt.replace("{question}", problem.question))]

    def grade(self, problem: Problem, reply: str) -> Verdict:
        """Is the answer of the reply right? Total: any string gets a verdict."""
        return self.grade_many([(problem, reply)])[0]

    def grade_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """``check`` for each pair, in order; the comparisons that need sympy run side by side."""
        if self._builtin is not None and all("facts" in problem.meta for problem, _ in pairs):
            return self._builtin.grade_many(pairs)
        graded = iter(self._grader.grade_many([(p.answer, reply) for p, reply in pairs if not self._has_facts(p)]))
        return [
            self._builtin.grade(problem, reply) if self._builtin and self._has_facts(problem) else next(graded)
            for problem, reply in pairs
        ]

    def problem_from_row(self, row: Mapping[str, object]) -> Problem:
        """The problem of a line: by ``id`` if that is known, else by ``problem`` and ``answer`` (or ``solution``)."""
        identity = row.get("id")
        if isinstance(identity, str) and (known := self._by_id(identity)) is not None:
            return known
        if "problem" not in row:
            wrong = f"is {identity!r}, which this task does not know" if "id" in row else "is missing"
            raise UserError(f"field 'id' {wrong}, and there is no field 'problem' to pose it by")
        question, answer = text(row, "problem"), gold(row)
        facts = known_facts(question, answer) if self._builtin is not None else {}
        return Problem(id=str(identity or ""), question=question, answer=answer, meta=facts)

    def close(self) -> None:
        """End the grader's worker processes."""
        self._grader.close()

    def _source(self) -> Hendrycks:
        assert self._real is not None  # set by the constructor wherever there is no builtin
        return self._real

    def _has_facts(self, problem: Problem) -> bool:
        return self._builtin is not None and "facts" in problem.meta

    def _by_id(self, identity: str) -> Problem | None:
        if self._real is not None:
            return self._real.by_id.get(identity)
        found = _BUILTIN_ID.fullmatch(identity)
        if found is None or self._builtin is None or int(found.group(2)) >= 2**31:
            return None
        split: Split = next(name for name in SPLITS if name == found.group(1))
        return self._builtin.problem(split, int(found.group(2)))


def known_facts(question: str, answer: str) -> dict[str, object]:
    """Family and facts of a built-in question, read back from its words and one right answer; empty if it is none."""
    asked, said = ([int(n) for n in re.findall(r"-?[0-9]{1,9}", words)] for words in (question, answer))
    for family in FAMILIES.values():
        for numbers in (asked, asked[1:] + asked[:1], said + asked):
            facts: ProblemParams = tuple(numbers)
            try:
                if family.ask(facts) == question and family.right(facts, answer):
                    return {"family": family.name, "facts": facts}
            except (IndexError, ValueError):
                continue  # not as many numbers as this family has
    return {}
