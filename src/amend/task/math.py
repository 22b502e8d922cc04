r"""Mathematics: the built-in problems and the MATH data set, behind one class.

    python run.py task=math
    python run.py task=math task.source=hendrycks policy=hf policy.path=owner/model algo.max_tokens=512

``meta`` of every problem has ``level`` (1 to 5; 0 for MATH's "Level ?"), ``subject`` and ``solution`` ("" if the file
has none). Built-in problems also have ``family`` and ``facts``, the parameters of the problem. They are graded by exact
arithmetic on these parameters, because several answers may be right. MATH problems are graded by ``MathGrader``,
against the gold answer.

The prompt for MATH is SCoRe's zero-shot prompt (arXiv 2409.12917, Appendix C). It asks for "Final Answer: The final
answer is $answer$". The grader also accepts an answer in ``\boxed{}``, the format that most open models use.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from amend.errors import UserError
from amend.task.base import TaskBase
from amend.task.dataset.hendrycks_math import Hendrycks, gold
from amend.task.dataset.jsonl import text
from amend.task.dataset.problem_families import FAMILIES, ProblemParams
from amend.task.dataset.procedural_math import Builtin
from amend.task.dataset.splits import SPLITS, Split
from amend.task.grading.math_grader import MathGrader
from amend.types import Message, Problem, Verdict
from amend.value_types import Count, Level, Natural

SECONDS = 3.0  # time limit of one comparison; bounds the delay that one adversarial answer causes
_BUILTIN_ID = re.compile(r"builtin-(train|val|test)-([0-9]{1,10})")


class Math(TaskBase):
    """Mathematical problems with a gold answer.

    ``provenance`` records the source of the rows; it is empty for built-in problems.

    Args:
        source: "builtin", "hendrycks", a hub id or a folder; ``amend.task.dataset.hendrycks_math`` has the formats.
        prompt: Prompt for MATH problems, which contains ``{question}``. Built-in problems have a fixed prompt.
        levels: The levels to use, from 1 to 5.
        families: The families of built-in problems to use. Other sources ignore it.
        validation: Number of validation problems.
        test: Maximal number of test problems.

    Raises:
        UserError: If a value is invalid or the source cannot be read.
    """

    def __init__(
        self, *, source: str, prompt: str, levels: list[Level], families: list[str], validation: Natural, test: Count
    ) -> None:
        if "{question}" not in prompt:
            raise UserError(f"task.prompt={prompt[:40]}: allowed: a text that contains {{question}}")
        self._prompt = prompt
        if validation < 0 or test < 1:
            raise UserError(f"task.validation={validation}, task.test={test}: allowed: at least 0, and at least 1")
        self.provenance: dict[str, dict[str, str | int]] = {}
        self._grader = MathGrader(seconds=SECONDS)
        self._builtin: Builtin | None = None
        self._real: Hendrycks | None = None
        if source == "builtin":
            self._builtin = Builtin(families=families, levels=levels, validation=validation, test=test)
        else:
            self._real = Hendrycks(source, levels=levels, validation=validation, test=test)
            self.provenance = self._real.provenance

    def problems(self, split: Split) -> Sequence[Problem]:
        """Return the problems of a split. The built-in training split is practically unlimited."""
        return (self._builtin or self._source()).problems(split)

    def render_prompt(self, problem: Problem) -> list[Message]:
        """Return the conversation that poses a problem. Built-in problems have the prompt of the built-in model."""
        if self._builtin is not None and "facts" in problem.meta:
            return self._builtin.render_prompt(problem)
        return [Message("user", self._prompt.replace("{question}", problem.question))]

    def grade_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """Grade many replies, in order. Comparisons that need sympy run in parallel."""
        if self._builtin is not None and all("facts" in problem.meta for problem, _ in pairs):
            return self._builtin.grade_many(pairs)
        graded = iter(self._grader.grade_many([(p.target, reply) for p, reply in pairs if not self._has_facts(p)]))
        return [
            self._builtin.grade(problem, reply) if self._builtin and self._has_facts(problem) else next(graded)
            for problem, reply in pairs
        ]

    def problem_from_row(self, row: Mapping[str, object]) -> Problem:
        """Return the problem that ``id`` names, else the problem of the fields ``problem`` and ``answer``.

        Args:
            row: A JSON object. ``solution`` may replace ``answer`` if it contains a box.

        Returns:
            The problem. A built-in question without a known id is recognized by its text.

        Raises:
            UserError: If the row has neither a known ``id`` nor a ``problem`` with an answer.
        """
        identity = row.get("id")
        if isinstance(identity, str) and (known := self._by_id(identity)) is not None:
            return known
        if "problem" not in row:
            error = f"is {identity!r}, which this task does not know" if "id" in row else "is missing"
            raise UserError(f"field 'id' {error}, and the row has no field 'problem'")
        question, answer = text(row, "problem"), gold(row)
        facts = known_facts(question, answer) if self._builtin is not None else {}
        return Problem(id=str(identity or ""), question=question, target=answer, meta=facts)

    def close(self) -> None:
        """End the worker processes of the grader."""
        self._grader.close()

    def _source(self) -> Hendrycks:
        assert self._real is not None  # the constructor sets either _builtin or _real
        return self._real

    def _has_facts(self, problem: Problem) -> bool:
        return self._builtin is not None and "facts" in problem.meta

    def _by_id(self, identity: str) -> Problem | None:
        if self._real is not None:
            return self._real.by_id.get(identity)
        match = _BUILTIN_ID.fullmatch(identity)
        if match is None or self._builtin is None or int(match.group(2)) >= 2**31:
            return None
        split: Split = next(name for name in SPLITS if name == match.group(1))
        return self._builtin.problem(split, int(match.group(2)))


def known_facts(question: str, answer: str) -> dict[str, object]:
    """Recover the family and parameters of a built-in problem from its question and one right answer.

    Args:
        question: The text of the question.
        answer: A right answer.

    Returns:
        ``family`` and ``facts`` for ``Problem.meta``; empty if this is not a built-in question.
    """
    in_question, in_answer = ([int(n) for n in re.findall(r"-?[0-9]{1,9}", words)] for words in (question, answer))
    for family in FAMILIES.values():
        for numbers in (in_question, in_question[1:] + in_question[:1], in_answer + in_question):
            facts: ProblemParams = tuple(numbers)
            try:
                if family.question(facts) == question and family.is_right(facts, answer):
                    return {"family": family.name, "facts": facts}
            except (IndexError, ValueError):
                continue  # this family has a different number of parameters
    return {}
