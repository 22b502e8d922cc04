"""Arithmetic with execution traces as training solutions, clean or with noise (Havrilla and Iyer 2024).

    python run.py task=algorithmic algo=sft dialogue=single task.char_noise=0.7

The paper (arXiv 2402.04004) fine-tuned Pythia-410M on 20,000 problems. With ``form=trace``, a training solution is the
execution trace of a schoolbook algorithm, and its last line is the answer. With ``form=answer``, it is only that line.

Only the solutions of the training split have noise. Questions, gold answers, and the solutions of the other splits are
always correct. Static noise changes a finished trace (``trace_noise.py``). Dynamic noise changes numbers while the
trace is computed (``execution_traces.py``).

A problem is a pure function of (seed, split, index). A hash of the question assigns each question to one split.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np

from amend.errors import UserError
from amend.task.base import TaskBase
from amend.task.dataset.execution_traces import OPERATIONS, execute, listed, spaced
from amend.task.dataset.lazy import LazyProblems, distinct
from amend.task.dataset.splits import SPLITS, Split, part
from amend.task.dataset.trace_noise import add_noise
from amend.task.grading.extract_answer import LONGEST_ANSWER, LONGEST_REPLY, extract_answer
from amend.types import Message, Problem, Verdict
from amend.value_types import Count, Fraction, Natural

SIGNS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "mod": "mod"}
_ID = re.compile(r"algorithmic-(train|val|test)-([0-9]{1,9})")
_ANSWER = re.compile(r"-?[0-9]+(?:,[0-9]+)*")


class Algorithmic(TaskBase):
    """Arithmetic problems on random integers.

    Args:
        operations: Names of the operations to sample from, such as "add" or "gcd".
        digits: Largest number of digits of an operand, at most 12.
        sampling: Distribution of operands. "length": uniform over the number of digits; "magnitude": uniform over
            the numbers with at most ``digits`` digits.
        items: Number of operands of sort and median, at most 20.
        form: "trace" or "answer", the content of a training solution.
        doc_noise: Probability that a training solution has static noise.
        char_noise: Static noise: probability that a digit is replaced.
        line_noise: Static noise: probability that a line is deleted. The last line is never deleted.
        replacement: "uniform": a replaced digit is uniform over 0 to 9; "biased": it is always the next digit.
        dynamic_noise: Probability that a digit is replaced when the execution computes a number.
        dynamic_doc: Probability that a training solution is computed with dynamic noise.
        seed: Seed of all problems.
        train: Number of training problems.
        validation: Number of validation problems.
        test: Number of test problems.

    Raises:
        UserError: If a value is out of range, has no effect, or leaves too few different questions.
    """

    def __init__(
        self,
        *,
        operations: list[str],
        digits: Count,
        sampling: Literal["length", "magnitude"],
        items: Count,
        form: Literal["trace", "answer"],
        doc_noise: Fraction,
        char_noise: Fraction,
        line_noise: Fraction,
        replacement: Literal["uniform", "biased"],
        dynamic_noise: Fraction,
        dynamic_doc: Fraction,
        seed: Natural,
        train: Count,
        validation: Natural,
        test: Count,
    ) -> None:
        if not operations or [name for name in operations if name not in OPERATIONS]:
            raise UserError(f"task.operations={operations}: allowed: some of {', '.join(OPERATIONS)}")
        if digits > 12 or items > 20:
            raise UserError(f"task.digits={digits}, task.items={items}: allowed: at most 12, and at most 20")
        if form == "answer" and line_noise:
            raise UserError(f"task.line_noise={line_noise}: task.form=answer has no line to delete; allowed: 0")
        unmet = {  # doc_noise=0 and dynamic_doc=0 are allowed, because they are the clean end of a sweep
            "doc_noise": doc_noise < 1 and not (char_noise or line_noise) and "char_noise or line_noise",
            "replacement": replacement == "biased" and not (char_noise and doc_noise) and "char_noise and doc_noise",
            "dynamic_doc": dynamic_doc < 1 and not dynamic_noise and "dynamic_noise",
        }
        for key, requirement in unmet.items():
            if requirement:
                raise UserError(
                    f"task.{key}: has no effect by itself; allowed: the default value, or task.{requirement} above 0"
                )
        self._operations, self._digits, self._sampling, self._items = operations, digits, sampling, items
        self._form, self._seed, self._train = form, seed, train
        self._static = {"doc": doc_noise, "char": char_noise, "line": line_noise}
        self._replacement, self._dynamic, self._dynamic_doc = replacement, dynamic_noise, dynamic_doc
        self._fixed: dict[Split, list[Problem]] = {
            "val": self._distinct("val", validation),
            "test": self._distinct("test", test),
        }

    def problem(self, split: Split, index: int) -> Problem:
        """Return the problem with an index in a split; it is the same on every machine and in every run.

        Args:
            split: "train", "val" or "test".
            index: Index of the problem, from 0. It may exceed the size of the split.

        Returns:
            The problem. ``meta`` has ``level`` (digits of the longest operand), ``subject`` and ``solution``.

        Raises:
            UserError: If the split has almost no questions of this size.
        """
        rng, noise = (
            np.random.default_rng(np.random.SeedSequence([self._seed, SPLITS.index(split), index, stream]))
            for stream in (0, 1)
        )
        for _ in range(10_000):
            name = self._operations[int(rng.integers(len(self._operations)))]
            operands = self._operands(name, rng)
            question = format_question(name, operands)
            if part(question) == split:
                break
        else:
            raise UserError(
                f"task.digits={self._digits}: too few different questions for three splits; allowed: more digits"
            )
        _, gold = execute(name, operands, 0.0, rng)
        is_noisy = split == "train" and noise.random() < self._dynamic_doc
        steps, result = execute(name, operands, self._dynamic if is_noisy else 0.0, noise)
        solution = "\n".join((*steps, result) if self._form == "trace" else (result,))
        if split == "train":
            solution = add_noise(solution, noise, **self._static, replacement=self._replacement)
        level = max(len(str(operand)) for operand in operands)
        meta = {"level": level, "subject": name, "solution": solution}
        return Problem(f"algorithmic-{split}-{index}", question, gold, meta)

    def problems(self, split: Split) -> Sequence[Problem]:
        """Return the problems of a split. Training problems are created on access."""
        return LazyProblems(partial(self.problem, split), self._train) if split == "train" else self._fixed[split]

    def render_prompt(self, problem: Problem) -> list[Message]:
        """Return the question as the only message."""
        return [Message("user", problem.question)]

    def grade(self, problem: Problem, reply: str) -> Verdict:
        """Grade the answer that ``extract_answer`` finds, else the last line of the reply. Spaces are ignored."""
        answer = extract_answer(reply)
        if answer is None:
            answer = reply[-LONGEST_REPLY:].strip().rpartition("\n")[2]
        answer = "".join(answer.split())
        if not answer:
            return Verdict(None, False, "no answer")
        if len(answer) > LONGEST_ANSWER or not _ANSWER.fullmatch(answer):
            return Verdict(answer[:LONGEST_ANSWER], False, "unparsed")
        right = answer == "".join(problem.target.split())
        return Verdict(answer, right, "right" if right else "wrong")

    def grade_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """Grade many replies, in order."""
        return [self.grade(problem, reply) for problem, reply in pairs]

    def problem_from_row(self, row: Mapping[str, object]) -> Problem:
        """Return the problem that the field ``id`` of a row names."""
        if "id" not in row:
            raise UserError("field 'id' is missing")
        match = _ID.fullmatch(str(row["id"]))
        if match is None:
            raise UserError(f"field 'id' is {str(row['id'])[:60]!r}, which this task does not know")
        return self.problem(next(split for split in SPLITS if split == match.group(1)), int(match.group(2)))

    def _operands(self, name: str, rng: np.random.Generator) -> list[int]:
        count = self._items if name in ("sort", "median") else 2
        operands = [self._number(rng) for _ in range(count)]
        if name == "sub":
            operands.sort(reverse=True)
        if name in ("div", "mod", "gcd"):
            operands[1] = max(operands[1], 1)
        return operands

    def _number(self, rng: np.random.Generator) -> int:
        if self._sampling == "magnitude":
            return int(rng.integers(10**self._digits))
        length = int(rng.integers(1, self._digits + 1))
        return int(rng.integers(10 ** (length - 1) if length > 1 else 0, 10**length))

    def _distinct(self, split: Split, count: int) -> list[Problem]:
        problems = distinct(partial(self.problem, split), count)
        if len(problems) < count:
            raise UserError(
                f"task.{'test' if split == 'test' else 'validation'}={count}: these operations on numbers of at most "
                f"{self._digits} digits have only {len(problems)} different questions in that split; ask for fewer"
            )
        return problems


def format_question(name: str, operands: Sequence[int]) -> str:
    """Return the question of an operation: ``4 7 + 1 2 =``, ``gcd ( 4 7 , 1 2 ) =``.

    Args:
        name: Name of the operation.
        operands: Its operands.

    Returns:
        The question, with a space between digits so that each digit is one token.
    """
    if name in SIGNS:
        return f"{spaced(operands[0])} {SIGNS[name]} {spaced(operands[1])} ="
    return f"{name} ( {listed(operands)} ) ="
