"""Multiple choice from a file or the hub: a question and labelled options, one of which is right.

    python run.py task=choice task.source=allenai/ai2_arc policy=hf policy.path=owner/model algo.max_tokens=512

The field of the options has one of three forms: a list of texts, ``{"text": [...], "label": [...]}`` as in ARC, or
``{"A": "...", ...}``. The field of the answer is a label, the index of an option from 0, or the text of an option.

``extract_text_answer`` extracts the answer of a reply. It is right if it is the label or the text of the right option.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import Any, Unpack

from amend.errors import UserError
from amend.task.dataset.jsonl import Row, shown, text
from amend.task.grading.text_answers import extract_text_answer, normalize_text
from amend.task.tabular import Layout, TableConfig, Tabular
from amend.types import Message, Problem, Verdict

PROMPT = (
    "Answer the question below, thinking step by step. Finish with the letter of your choice as \\boxed{letter}.\n\n"
)
_LETTERED = re.compile(r"[*\"']*\(?([A-Za-z0-9]{1,2})(?:\)|[*\"']*[.:](?=\s|$)|\s+(?:because|since)\b)")


class Choice(Tabular):
    """Multiple-choice questions with configurable field names.

    Args:
        configuration: Configuration of the hub data set; None if it has none.
        train_split: Hub split, or file of a folder without ``.jsonl``, with the training problems.
        test_split: The same for the test problems. If it equals ``train_split``, that table is divided.
        question: Name of the field with the question.
        options: Name of the field with the options.
        answer: Name of the field with the right answer.
        **table: Source and sizes, see ``TableConfig``.

    Raises:
        UserError: If the source cannot be read or a row is invalid.
    """

    prefix = "choice"

    def __init__(
        self,
        *,
        configuration: str | None,
        train_split: str,
        test_split: str,
        question: str,
        options: str,
        answer: str,
        **table: Unpack[TableConfig],
    ) -> None:
        self._question, self._options, self._answer = question, options, answer
        super().__init__(Layout.of(configuration, train_split, test_split), **table)

    def problem(self, identity: str, row: Row) -> Problem:
        """Return the problem of a row: the question with one option per line, and the right label."""
        labels, options = _read_options(self._options, row)
        question = "\n".join(
            (text(row, self._question), *(f"({label}) {option}" for label, option in zip(labels, options, strict=True)))
        )
        key = "gold" if "gold" in row else self._answer
        if key not in row:
            raise UserError(f"field {key!r} is missing")
        right = _find_label(row[key], labels, options)
        if right is None:
            raise UserError(f"field {key!r} is {shown(row[key])}; allowed: one of {', '.join(labels)}, or an option")
        meta = {"level": 0, "subject": "", "solution": "", "options": dict(zip(labels, options, strict=True))}
        return Problem(id=identity, question=question, target=right, meta=meta)

    def render_prompt(self, problem: Problem) -> list[Message]:
        """Return a zero-shot prompt: instruction, question and options."""
        return [Message("user", PROMPT + problem.question)]

    def grade_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """Grade many replies, in order."""
        return [_grade(problem, reply) for problem, reply in pairs]


def _grade(problem: Problem, reply: str) -> Verdict:
    answer = extract_text_answer(reply)
    if answer is None:
        return Verdict(None, False, "no answer")
    options = problem.meta["options"]
    lettered = _LETTERED.match(answer)
    by_label = {normalize_text(label): label for label in options}
    by_text = {normalize_text(option): label for label, option in options.items()}
    label = (
        by_label.get(normalize_text(answer))
        or by_text.get(normalize_text(answer))
        or (by_label.get(lettered.group(1).casefold()) if lettered else None)
    )
    if label is None:
        return Verdict(answer, False, "unparsed")
    return Verdict(label, label == problem.target, "right" if label == problem.target else "wrong")


def _read_options(name: str, row: Row) -> tuple[list[str], list[str]]:
    """Return the labels and the texts of the options of a row."""
    if name not in row:
        raise UserError(f"field {name!r} is missing")
    value = row[name]
    labels: Any = None
    if isinstance(value, dict) and {"text", "label"} <= set(value):
        labels, value = value["label"], value["text"]
    elif isinstance(value, dict):
        labels, value = list(value), list(value.values())
    if labels is None and isinstance(value, list):
        labels = list(string.ascii_uppercase[: len(value)])
    is_complete = isinstance(value, list) and isinstance(labels, list) and len(value) == len(labels) >= 2
    if not is_complete or not all(isinstance(word, str) for word in (*value, *labels)):
        raise UserError(
            f"field {name!r} is {shown(row[name])}; allowed: a list of 2 to 26 texts, or texts with their labels"
        )
    return labels, value


def _find_label(gold: object, labels: list[str], options: list[str]) -> str | None:
    """Return the label of a gold answer, which is a label, an index or the text of an option; None if it is none."""
    if isinstance(gold, int) and not isinstance(gold, bool):
        is_index = 0 <= gold < len(labels) and str(gold) not in labels
        return labels[gold] if is_index else _find_label(str(gold), labels, [])
    if not isinstance(gold, str):
        return None
    if gold.strip() in labels:
        return gold.strip()
    return labels[options.index(gold)] if options.count(gold) == 1 else None
