"""Grading of mathematical answers: read the answer out of a reply, compare it with the gold one, and say why.

The answer is what stands in the last balanced ``\\boxed{}``; failing that, in ``Final Answer: The final answer is
$...$`` (SCoRe's wording, of which either half will do, in bold or not) or after ``####`` (GSM8K's), whichever comes
last; failing that, after a ``\\boxed`` without braces. Only that string is compared:

    1. plain equality, once spacing, fraction styles, units and the final full stop are out of the way, and exact
       arithmetic where both are numbers: microseconds, and enough for most replies;
    2. math-verify (sympy) for the rest, in a process that can be killed.

Sympy cannot be interrupted from within: ``9^{9^{9^9}}`` holds a process for as long as it is let. So each comparison
has its own wall-clock and memory limit in a pool of two workers; what runs past it is killed and its verdict says
"timeout". Waiting in the queue does not count. Verdicts are remembered, so the same answer is never paid for twice.

Why a verdict is what it is:  right | wrong | no answer (none was found) | unparsed (one of the two is not readable as
mathematics) | timeout (the comparison ran past its limits). Everything but "right" is not correct.

Units are lenient, as in the graders of the papers: ``12`` is right for ``12\\text{ cm}``, and so is ``12\\text{ in}``;
but the times 10 AM and 10 PM, and numbers written in different bases, differ. A gold ``72\\%`` is 72 as well as 0.72,
and an answer ``50\\%`` is right for 50 as well as for 0.5; never the other way, 7200 or 0.5%.
"""

from __future__ import annotations

import re
from fractions import Fraction

from amend.task.grading.extract_answer import LONGEST_ANSWER, boxed
from amend.task.grading.normalize_answer import number, plain, undecorated
from amend.task.grading.worker_pool import Pool
from amend.types import Verdict

_NOT = re.compile(r"\bnot\b")
_WORD = re.compile(r"[A-Za-z]{4,}|[A-Z]{2,}")
_BASE = re.compile(r"(?:.*[0-9A-F])_\{?([0-9]{1,2})\}?")
_HALF_DAY = re.compile(r"[^a-z]*([ap])\.?m\.?[^a-z]*")
SURELY_DIFFERENT = Fraction(1, 10**5)  # numbers further apart than this are not one number rounded


def decide(gold: str, answer: str) -> str | None:
    """ "right" or "wrong" where that is plain to see, None where sympy must be asked."""
    (a, a_unit), (b, b_unit) = plain(gold), plain(answer)
    if a == b and (a_unit == b_unit or not a_unit or not b_unit):
        return "right"
    if _NOT.search(answer) and not _NOT.search(gold):
        return "wrong"
    halves = [found.group(1) for unit in (a_unit, b_unit) if (found := _HALF_DAY.fullmatch(unit))]
    bases = [found.group(1) for text in (a, b) if (found := _BASE.fullmatch(text))]
    if any(len(marks) == 2 and marks[0] != marks[1] for marks in (halves, bases)):
        return "wrong"  # 10 AM for 10 PM, or 25 in base 8 for 25 in base 9: math-verify would see two equal numbers
    if _WORD.fullmatch(a) and _WORD.fullmatch(b):  # which sympy would take for products of their letters
        return "right" if a.lower() == b.lower() else "wrong"
    x, y = number(a), number(b)
    if x is None or y is None:
        return None
    scales = [Fraction(1)]
    if (a_unit == "%") != (b_unit == "%"):  # 72% is 0.72; and 72, where the question asks for a percentage
        scales.append(Fraction(100) if a_unit == "%" else Fraction(1, 100))
    gaps = [abs(x - y * scale) for scale in scales]
    if min(gaps) == 0:
        return "right"
    return "wrong" if min(gaps) > SURELY_DIFFERENT else None


# The grader -----------------------------------------------------------------------------------------------------------


class Grader:
    """Compares answers with gold ones; usable from any thread.

    ``seconds`` is the wall-clock limit of one comparison: the most that one hostile answer can delay a batch by. Worker
    processes start at the first answer that needs one, and end with ``close`` or with the grader.
    """

    def __init__(self, *, seconds: float) -> None:
        self._pool = Pool(seconds=seconds)

    def grade(self, gold: str, reply: str) -> Verdict:
        """The verdict on one reply. Total: any string gets one."""
        return self.grade_many([(gold, reply)])[0]

    def grade_many(self, pairs: list[tuple[str, str]]) -> list[Verdict]:
        """The verdict on each (gold answer, reply), in order.

        Raises UserError only where the machine, not the reply, is at fault: worker processes that do not start.
        """
        answers = [boxed(reply) for _, reply in pairs]
        bare = [
            (undecorated(gold), None if answer is None else undecorated(answer))
            for (gold, _), answer in zip(pairs, answers, strict=True)
        ]
        whys = [_at_once(gold, answer) for gold, answer in bare]
        asked = {(gold, answer): "" for (gold, answer), why in zip(bare, whys, strict=True) if why is None and answer}
        decided = self._pool.compare(list(asked))
        verdicts = []
        for answer, pair, why in zip(answers, bare, whys, strict=True):
            why = why if why is not None or pair[1] is None else decided[pair[0], pair[1]]
            shown = None if why == "no answer" or answer is None else answer[:LONGEST_ANSWER]
            verdicts.append(Verdict(shown, why == "right", why or "unparsed"))
        return verdicts

    def close(self) -> None:
        """End the workers. The grader may be used again: they start anew."""
        self._pool.close()


def _at_once(gold: str, answer: str | None) -> str | None:
    """The reason where no sympy is needed, else None."""
    if answer is None or (not answer and gold.strip()):
        return "no answer"
    if answer == gold.strip():
        return "right"
    if len(answer) > LONGEST_ANSWER:
        return "unparsed"
    return decide(gold, answer)
