"""A toy task for tests of algorithms: repeat the symbol in the question.

The prompt is "Say 3" and the correct reply is "3". Every correct algorithm trains a policy of a few thousand parameters
to solve it within seconds. A wrong sign, loss mask or advantage is therefore visible immediately. There are only as
many different questions as symbols, so the splits share questions. The task measures learning, not generalization.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from functools import partial

from amend.errors import UserError
from amend.task.base import TaskBase
from amend.task.dataset.lazy import LazyProblems
from amend.task.dataset.splits import SPLITS, Split
from amend.task.grading.extract_answer import LONGEST_ANSWER, extract_answer
from amend.types import Message, Problem, Verdict
from amend.value_types import Count

ALPHABET = string.digits + string.ascii_lowercase
TRAINING = 4096  # number of training problems, which cycle through the symbols


class Identity(TaskBase):
    """Repeat one of several symbols.

    Args:
        symbols: Number of different symbols: the digits, then lower-case letters.
        test: Number of problems of the test split, and of the validation split.

    Raises:
        UserError: If a value is out of range.
    """

    def __init__(self, *, symbols: Count, test: Count) -> None:
        if not 1 <= symbols <= len(ALPHABET):
            raise UserError(f"task.symbols={symbols}: allowed: 1 to {len(ALPHABET)}")
        if test < 1:
            raise UserError(f"task.test={test}: allowed: at least 1")
        sizes = {"train": TRAINING, "val": test, "test": test}
        self._splits = {split: LazyProblems(partial(_problem, split, symbols), sizes[split]) for split in SPLITS}

    def problems(self, split: Split) -> Sequence[Problem]:
        """Return the problems of a split. They cycle through the symbols."""
        return self._splits[split]

    def render_prompt(self, problem: Problem) -> list[Message]:
        """Return the question as the only message."""
        return [Message("user", problem.question)]

    def grade(self, problem: Problem, reply: str) -> Verdict:
        """Grade a reply: it is right if it is the symbol, or if ``extract_answer`` finds the symbol in it."""
        stripped = reply.strip()
        if not stripped:
            return Verdict(None, False, "no answer")
        answer = extract_answer(reply)
        if problem.target in (stripped, answer):
            return Verdict(problem.target, True, "right")
        return Verdict((answer or stripped)[:LONGEST_ANSWER], False, "wrong")

    def grade_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """Grade many replies, in order."""
        return [self.grade(problem, reply) for problem, reply in pairs]

    def problem_from_row(self, row: Mapping[str, object]) -> Problem:
        """Return the problem that the field ``id`` of a row names."""
        if "id" not in row:
            raise UserError("field 'id' is missing")
        match = re.fullmatch(r"identity-[a-z]+-(\d{1,9})", str(row["id"]))
        index = int(match[1]) if match else 0
        for problems in self._splits.values():
            if index < len(problems) and problems[index].id == row["id"]:
                return problems[index]
        raise UserError(f"field 'id' is {row['id']!r}, which this task does not know")


def _problem(split: Split, symbols: int, index: int) -> Problem:
    symbol = ALPHABET[index % symbols]
    meta = {"level": 1, "subject": "Identity", "solution": symbol}
    return Problem(id=f"identity-{split}-{index}", question=f"Say {symbol}", target=symbol, meta=meta)
