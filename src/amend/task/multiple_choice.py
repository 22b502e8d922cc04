"""Multiple choice from a file or the hub: a question, options with letters, and one of them right (ARC's layout).

The field of options holds a list of texts, ``{"text": [...], "label": [...]}`` as ARC has it, or ``{"A": "...", ...}``;
the field of the answer a label, a number counting options from 0, or an option's own text. A reply is read as ``said``
reads it, and is right where it names the label or the option, and nothing else.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from typing import Any, Unpack

from amend.errors import UserError
from amend.task.dataset.jsonl import Row, shown, text
from amend.task.grading.text_answers import bare, said
from amend.task.tabular import Layout, TableConfig, Tabular
from amend.types import Message, Problem, Verdict

PROMPT = (
    "Answer the question below, thinking step by step. Finish with the letter of your choice as \\boxed{letter}.\n\n"
)
_LETTERED = re.compile(r"[*\"']*\(?([A-Za-z0-9]{1,2})(?:\)|[*\"']*[.:](?=\s|$)|\s+(?:because|since)\b)")


class Choice(Tabular):
    """``question``, ``options`` and ``answer`` name the fields; ``train_split`` and ``test_split`` the hub's splits,
    or a folder's files without their ``.jsonl``; ``configuration`` the hub's, null for none."""

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
        """The question with its options as lines, and the label of the right one."""
        labels, options = _options(self._options, row)
        asked = "\n".join(
            (text(row, self._question), *(f"({label}) {option}" for label, option in zip(labels, options, strict=True)))
        )
        key = "gold" if "gold" in row else self._answer
        if key not in row:
            raise UserError(f"field {key!r} is missing")
        right = _label(row[key], labels, options)
        if right is None:
            raise UserError(f"field {key!r} is {shown(row[key])}; allowed: one of {', '.join(labels)}, or an option")
        meta = {"level": 0, "subject": "", "solution": "", "options": dict(zip(labels, options, strict=True))}
        return Problem(id=identity, question=asked, target=right, meta=meta)

    def render_prompt(self, problem: Problem) -> list[Message]:
        """Zero-shot: the instruction, the question and its options."""
        return [Message("user", PROMPT + problem.question)]

    def grade_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """Does each reply name the right option, and no other?"""
        return [_checked(problem, reply) for problem, reply in pairs]


def _checked(problem: Problem, reply: str) -> Verdict:
    found = said(reply)
    if found is None:
        return Verdict(None, False, "no answer")
    options = problem.meta["options"]
    lettered = _LETTERED.match(found)
    named = {bare(label): label for label in options}
    texts = {bare(option): label for label, option in options.items()}
    label = (
        named.get(bare(found))
        or texts.get(bare(found))
        or (named.get(lettered.group(1).casefold()) if lettered else None)
    )
    if label is None:
        return Verdict(found, False, "unparsed")
    return Verdict(label, label == problem.target, "right" if label == problem.target else "wrong")


def _options(name: str, row: Row) -> tuple[list[str], list[str]]:
    """Labels and texts of a row's options."""
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
    whole = isinstance(value, list) and isinstance(labels, list) and len(value) == len(labels) >= 2
    if not whole or not all(isinstance(word, str) for word in (*value, *labels)):
        raise UserError(
            f"field {name!r} is {shown(row[name])}; allowed: a list of 2 to 26 texts, or texts with their labels"
        )
    return labels, value


def _label(said: object, labels: list[str], options: list[str]) -> str | None:
    """The label that a gold answer means."""
    if isinstance(said, int) and not isinstance(said, bool):
        return labels[said] if 0 <= said < len(labels) and str(said) not in labels else _label(str(said), labels, [])
    if not isinstance(said, str):
        return None
    if said.strip() in labels:
        return said.strip()
    return labels[options.index(said)] if options.count(said) == 1 else None
