"""Grade answers that are text: labels of options, words, and yes or no."""

from __future__ import annotations

import re

from amend.task.grading.extract_answer import LONGEST_ANSWER, LONGEST_REPLY, extract_answer
from amend.types import Verdict

_ANSWER_IS = re.compile(
    r"\b(?:answer|option|choice)\s+is:?\s*+(?:(?:the\s+)?(?:option|choice|letter)\s+)?|answer:\s*+", re.IGNORECASE
)


def extract_text_answer(reply: str) -> str | None:
    """Return the textual answer of a reply.

    The sources, in order of preference:

        1. an answer that ``extract_answer`` finds
        2. the rest of the line after the last "answer is", "option is", "choice is" or "answer:"
        3. the whole reply, if it is one line
        4. the last line, if it is one word

    Args:
        reply: The reply. Any string is valid.

    Returns:
        The answer; None if there is none or if it is longer than ``LONGEST_ANSWER``.
    """
    answer = extract_answer(reply)
    if answer is None:
        answer = reply[-LONGEST_REPLY:].strip()
        if ends := [match.end() for match in _ANSWER_IS.finditer(answer)]:
            answer = answer[ends[-1] :].partition("\n")[0]
        elif "\n" in answer:
            reasoning, _, answer = answer.rpartition("\n")
            if len(answer.split()) != 1 or len(reasoning.split()) < 2:
                return None
    answer = answer.strip("* \t")
    return answer if 0 < len(answer) <= LONGEST_ANSWER else None


def normalize_text(answer: str) -> str:
    """Normalize an answer: remove parentheses, quotes, the full stop and LaTeX text commands, and fold the case."""
    inner = re.sub(r"\\(?:text|textbf|mathrm)\{([^{}]*)\}", r"\1", answer)
    return " ".join(inner.split()).strip("().*: \"'“”").casefold()


def grade_text(gold: str, answer: str | None) -> Verdict:
    """Grade an answer by string comparison after normalization with ``normalize_text``.

    Args:
        gold: The gold answer.
        answer: The answer of a reply; None if the reply has none.

    Returns:
        A verdict with the reason "right", "wrong" or "no answer".
    """
    if answer is None:
        return Verdict(None, False, "no answer")
    right = answer == gold or normalize_text(answer) == normalize_text(gold)
    return Verdict(answer, right, "right" if right else "wrong")
