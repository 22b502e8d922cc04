r"""Grade mathematical answers: extract the answer from a reply and compare it with the gold answer.

``extract_answer`` extracts the answer. It accepts ``\boxed{}``, GSM8K's ``####`` and SCoRe's ``Final Answer: The
final answer is $...$`` (each half is sufficient, bold or not). Only the extracted string is compared, in two steps:

    1. String comparison after normalization of spacing, fractions, units and the final full stop. If both answers are
       numbers, they are compared with exact arithmetic. This step is fast and decides most replies.
    2. math-verify (sympy) in a worker process, if step 1 does not decide.

Sympy cannot be interrupted from inside its process: evaluating ``9^{9^{9^9}}`` does not end in practice. Each
comparison therefore has a limit of wall-clock time and memory in a pool of two workers. A worker that exceeds a limit
is killed, and the verdict is "timeout". Time in the queue does not count. Results are cached, so each pair is compared
only once.

The reason of a verdict is one of:

    right       the answers are equal
    wrong       the answers differ
    no answer   the reply has no answer
    unparsed    one of the two answers cannot be parsed as mathematics
    timeout     the comparison exceeded its limits

A verdict is correct only if its reason is "right".

Units are ignored, as in the graders of the papers: both ``12`` and ``12\text{ in}`` are right for ``12\text{ cm}``.
There are two exceptions: 10 AM differs from 10 PM, and numbers in different bases differ. Percent signs are optional:
for the gold answer ``72\%``, 72 and 0.72 are right; the answer ``50\%`` is right for 50 and for 0.5. The opposite scale
is wrong: 7200 is not 72%, and 0.5% is not 50.
"""

from __future__ import annotations

import re
from fractions import Fraction

from amend.task.grading.extract_answer import LONGEST_ANSWER, extract_answer
from amend.task.grading.normalize_answer import parse_number, split_unit, strip_styling
from amend.task.grading.worker_pool import Pool
from amend.types import Verdict

_NOT = re.compile(r"\bnot\b")
_WORD = re.compile(r"[A-Za-z]{4,}|[A-Z]{2,}")
_BASE = re.compile(r"(?:.*[0-9A-F])_\{?([0-9]{1,2})\}?")
_HALF_DAY = re.compile(r"[^a-z]*([ap])\.?m\.?[^a-z]*")
MAX_ROUNDING_ERROR = Fraction(1, 10**5)  # a larger difference is not explained by rounding


def compare_plain(gold: str, answer: str) -> str | None:
    """Compare two answers without sympy.

    Args:
        gold: The gold answer.
        answer: The answer of a reply.

    Returns:
        "right" or "wrong"; None if sympy must decide.
    """
    (a, a_unit), (b, b_unit) = split_unit(gold), split_unit(answer)
    if a == b and (a_unit == b_unit or not a_unit or not b_unit):
        return "right"
    if _NOT.search(answer) and not _NOT.search(gold):
        return "wrong"
    halves = [match.group(1) for unit in (a_unit, b_unit) if (match := _HALF_DAY.fullmatch(unit))]
    bases = [match.group(1) for text in (a, b) if (match := _BASE.fullmatch(text))]
    if any(len(marks) == 2 and marks[0] != marks[1] for marks in (halves, bases)):
        return "wrong"  # math-verify ignores AM or PM and the base, and would find the numbers equal
    if _WORD.fullmatch(a) and _WORD.fullmatch(b):  # sympy would parse a word as a product of its letters
        return "right" if a.lower() == b.lower() else "wrong"
    x, y = parse_number(a), parse_number(b)
    if x is None or y is None:
        return None
    scales = [Fraction(1)]
    if (a_unit == "%") != (b_unit == "%"):  # 72% is 0.72, or 72 if the question asks for a percentage
        scales.append(Fraction(100) if a_unit == "%" else Fraction(1, 100))
    gaps = [abs(x - y * scale) for scale in scales]
    if min(gaps) == 0:
        return "right"
    return "wrong" if min(gaps) > MAX_ROUNDING_ERROR else None


class MathGrader:
    """Grade replies against gold answers. Safe to use from several threads.

    Worker processes start when the first comparison needs sympy. They end with ``close`` or when the grader is deleted.

    Args:
        seconds: Limit of wall-clock time for each comparison. It bounds the delay that one adversarial answer causes.
    """

    def __init__(self, *, seconds: float) -> None:
        self._pool = Pool(seconds=seconds)

    def grade(self, gold: str, reply: str) -> Verdict:
        """Grade one reply.

        Args:
            gold: The gold answer.
            reply: The reply. Any string is valid.

        Returns:
            The verdict.
        """
        return self.grade_many([(gold, reply)])[0]

    def grade_many(self, pairs: list[tuple[str, str]]) -> list[Verdict]:
        """Grade many replies; comparisons that need sympy run in parallel.

        Args:
            pairs: (gold answer, reply) for each reply. Any string is a valid reply.

        Returns:
            One verdict per pair, in order. ``answer`` is cut to ``LONGEST_ANSWER`` characters.

        Raises:
            UserError: If worker processes do not start. No reply causes an error.
        """
        answers = [extract_answer(reply) for _, reply in pairs]
        normalized = [
            (strip_styling(gold), None if answer is None else strip_styling(answer))
            for (gold, _), answer in zip(pairs, answers, strict=True)
        ]
        reasons = [_grade_without_sympy(gold, answer) for gold, answer in normalized]
        undecided = {
            (gold, answer): ""
            for (gold, answer), reason in zip(normalized, reasons, strict=True)
            if reason is None and answer
        }
        decided = self._pool.compare(list(undecided))
        verdicts = []
        for answer, pair, reason in zip(answers, normalized, reasons, strict=True):
            reason = reason if reason is not None or pair[1] is None else decided[pair[0], pair[1]]
            short = None if reason == "no answer" or answer is None else answer[:LONGEST_ANSWER]
            verdicts.append(Verdict(short, reason == "right", reason or "unparsed"))
        return verdicts

    def close(self) -> None:
        """End the worker processes. The next comparison that needs sympy starts new ones."""
        self._pool.close()


def _grade_without_sympy(gold: str, answer: str | None) -> str | None:
    """Return the reason of the verdict, or None if sympy must decide."""
    if answer is None or (not answer and gold.strip()):
        return "no answer"
    if answer == gold.strip():
        return "right"
    if len(answer) > LONGEST_ANSWER:
        return "unparsed"
    return compare_plain(gold, answer)
