"""Grade answers that are text: choice labels, words, and yes or no."""

from __future__ import annotations

import re

from amend.task.grading.extract_answer import LONGEST_ANSWER, LONGEST_REPLY, boxed
from amend.types import Verdict

_ANSWER_IS = re.compile(
    r"\b(?:answer|option|choice)\s+is:?\s*+(?:(?:the\s+)?(?:option|choice|letter)\s+)?|answer:\s*+", re.IGNORECASE
)


def said(reply: str) -> str | None:
    """What a reply gives as its answer: what it boxes last; else the line after its last "answer is"; else all of it,
    where it is one short line; else its last line, where that is one word. None where it gives none."""
    found = boxed(reply)
    if found is None:
        found = reply[-LONGEST_REPLY:].strip()
        if ends := [match.end() for match in _ANSWER_IS.finditer(found)]:
            found = found[ends[-1] :].partition("\n")[0]
        elif "\n" in found:
            thought, _, found = found.rpartition("\n")
            if len(found.split()) != 1 or len(thought.split()) < 2:
                return None
    found = found.strip("* \t")
    return found if 0 < len(found) <= LONGEST_ANSWER else None


def bare(answer: str) -> str:
    """An answer without brackets, full stop, LaTeX's text command and case."""
    inner = re.sub(r"\\(?:text|textbf|mathrm)\{([^{}]*)\}", r"\1", answer)
    return " ".join(inner.split()).strip("().*: \"'“”").casefold()


def same_text(gold: str, found: str | None) -> Verdict:
    if found is None:
        return Verdict(None, False, "no answer")
    right = found == gold or bare(found) == bare(gold)
    return Verdict(found, right, "right" if right else "wrong")
