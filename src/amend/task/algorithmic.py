"""Arithmetic by schoolbook algorithms, with execution traces to learn from, clean or noised (arXiv 2402.04004).

``form`` "trace": the solution to imitate is the execution, its last line the answer; "answer": that line alone. Noise
is in the solutions of the training split and nowhere else: what is asked, the right answer that replies are checked
against, validation and test are clean. Static noise comes after the trace was computed (``noise.py``); dynamic noise
while it is computed (``trace.py``), in a share ``dynamic_doc`` of the documents.

A problem is a pure function of (seed, split, index), and a question belongs to one split by a hash of its words.
``python run.py algo=sft task=algorithmic``; the paper fine-tuned Pythia-410M on 20,000 problems.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np

from amend.errors import UserError
from amend.task.dataset.execution_traces import OPERATIONS, execute, listed, spaced
from amend.task.dataset.lazy import LazyProblems, distinct
from amend.task.dataset.splits import SPLITS, Split, part
from amend.task.dataset.trace_noise import add_noise
from amend.task.grading.extract_answer import LONGEST_ANSWER, LONGEST_REPLY, boxed
from amend.types import Message, Problem, Verdict
from amend.value_types import Count, Fraction, Natural

SIGNS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "mod": "mod"}
_ID = re.compile(r"algorithmic-(train|val|test)-([0-9]{1,9})")
_ANSWER = re.compile(r"-?[0-9]+(?:,[0-9]+)*")


class Algorithmic:
    """Problems of ``operations``; ``train`` of them to learn from, ``validation`` and ``test`` to be measured by.

    digits:      of an operand, at most
    sampling:    "length": each length from 1 to ``digits`` alike; "magnitude": each number of at most ``digits`` alike
    items:       how many numbers sort and median have
    doc_noise, char_noise, line_noise, replacement: static noise; dynamic_noise, dynamic_doc: dynamic noise
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
        idle = {  # no document at all (doc_noise=0, dynamic_doc=0) is the clean end of an axis
            "doc_noise": doc_noise < 1 and not (char_noise or line_noise) and "char_noise or line_noise",
            "replacement": replacement == "biased" and not (char_noise and doc_noise) and "char_noise and doc_noise",
            "dynamic_doc": dynamic_doc < 1 and not dynamic_noise and "dynamic_noise",
        }
        for knob, needs in idle.items():
            if needs:
                raise UserError(f"task.{knob}: does nothing by itself; allowed: leave it, or set task.{needs} above 0")
        self._operations, self._digits, self._sampling, self._items = operations, digits, sampling, items
        self._form, self._seed, self._train = form, seed, train
        self._static = {"doc": doc_noise, "char": char_noise, "line": line_noise}
        self._replacement, self._dynamic, self._dynamic_doc = replacement, dynamic_noise, dynamic_doc
        self._fixed: dict[Split, list[Problem]] = {
            "val": self._distinct("val", validation),
            "test": self._distinct("test", test),
        }

    def problem(self, split: Split, index: int) -> Problem:
        """The problem that (split, index) names: the same on every machine and in every run."""
        rng, noise = (
            np.random.default_rng(np.random.SeedSequence([self._seed, SPLITS.index(split), index, stream]))
            for stream in (0, 1)
        )
        for _ in range(10_000):
            name = self._operations[int(rng.integers(len(self._operations)))]
            operands = self._operands(name, rng)
            question = posed(name, operands)
            if part(question) == split:
                break
        else:
            raise UserError(f"task.digits={self._digits}: too few different questions for three splits; allowed: more")
        _, gold = execute(name, operands, 0.0, rng)
        wrong = split == "train" and noise.random() < self._dynamic_doc
        steps, result = execute(name, operands, self._dynamic if wrong else 0.0, noise)
        solution = "\n".join((*steps, result) if self._form == "trace" else (result,))
        if split == "train":
            solution = add_noise(solution, noise, **self._static, replacement=self._replacement)
        level = max(len(str(operand)) for operand in operands)
        meta = {"level": level, "subject": name, "solution": solution}
        return Problem(f"algorithmic-{split}-{index}", question, gold, meta)

    def problems(self, split: Split) -> Sequence[Problem]:
        """The problems of a split; those to train on are made as they are asked for."""
        return LazyProblems(partial(self.problem, split), self._train) if split == "train" else self._fixed[split]

    def render_prompt(self, problem: Problem) -> list[Message]:
        """The question and nothing else."""
        return [Message("user", problem.question)]

    def grade(self, problem: Problem, reply: str) -> Verdict:
        """Is the last line of the reply (or what it boxes last) the answer, spaces aside? Total."""
        found = boxed(reply)
        if found is None:
            found = reply[-LONGEST_REPLY:].strip().rpartition("\n")[2]
        found = "".join(found.split())
        if not found:
            return Verdict(None, False, "no answer")
        if len(found) > LONGEST_ANSWER or not _ANSWER.fullmatch(found):
            return Verdict(found[:LONGEST_ANSWER], False, "unparsed")
        right = found == "".join(problem.answer.split())
        return Verdict(found, right, "right" if right else "wrong")

    def grade_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """``check`` for each pair."""
        return [self.grade(problem, reply) for problem, reply in pairs]

    def problem_from_row(self, row: Mapping[str, object]) -> Problem:
        """The problem of a line, by its ``id``."""
        if "id" not in row:
            raise UserError("field 'id' is missing")
        found = _ID.fullmatch(str(row["id"]))
        if found is None:
            raise UserError(f"field 'id' is {str(row['id'])[:60]!r}, which this task does not know")
        return self.problem(next(split for split in SPLITS if split == found.group(1)), int(found.group(2)))

    def _operands(self, name: str, rng: np.random.Generator) -> list[int]:
        count = self._items if name in ("sort", "median") else 2
        drawn = [self._number(rng) for _ in range(count)]
        if name == "sub":
            drawn.sort(reverse=True)
        if name in ("div", "mod", "gcd"):
            drawn[1] = max(drawn[1], 1)
        return drawn

    def _number(self, rng: np.random.Generator) -> int:
        if self._sampling == "magnitude":
            return int(rng.integers(10**self._digits))
        length = int(rng.integers(1, self._digits + 1))
        return int(rng.integers(10 ** (length - 1) if length > 1 else 0, 10**length))

    def _distinct(self, split: Split, count: int) -> list[Problem]:
        found = distinct(partial(self.problem, split), count)
        if len(found) < count:
            raise UserError(
                f"task.{'test' if split == 'test' else 'validation'}={count}: these operations on numbers of at most "
                f"{self._digits} digits have only {len(found)} different questions in that split; ask for fewer"
            )
        return found


def posed(name: str, operands: Sequence[int]) -> str:
    """The question: ``4 7 + 1 2 =``, ``gcd ( 4 7 , 1 2 ) =``."""
    if name in SIGNS:
        return f"{spaced(operands[0])} {SIGNS[name]} {spaced(operands[1])} ="
    return f"{name} ( {listed(operands)} ) ="
