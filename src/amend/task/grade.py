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

import json
import os
import re
from collections import Counter
from fractions import Fraction
from pathlib import Path

from amend.errors import UserError
from amend.task.base import Task
from amend.task.pool import Pool
from amend.task.rows import at, content, lines
from amend.task.rows import text as text_of
from amend.types import Verdict

LONGEST_REPLY = 100_000  # characters, from the end of a reply, in which an answer is looked for
LONGEST_ANSWER = 200  # characters; the longest gold answer of MATH has 159

# Reading the answer ---------------------------------------------------------------------------------------------------

_BRACES = re.compile(r"\\boxed +([^\s{}$\\]{1,40})|\\{1,2}(?:boxed|fbox)\s*+\{|\\.|[{}]", re.DOTALL)
_SLASH = re.compile(r"(?<!\\)\\$")  # what is left of a space, "\\ ", at the end
_DOLLARS = re.compile(r"\$+((?:\\.|[^$\\])*+)", re.DOTALL)
_FINAL = re.compile(
    r"final answer(?:\s++is\b:?|[*_]{0,3}\s?:)[\s*_]*+(?:the (?:final )?answer is\b:?[\s*_]*+)?", re.IGNORECASE
)

_LABEL = re.compile(r"[#*_:\s]*+(?:(?:the )?(?:final )?answer\b(?: is\b)?[\s:*_]*+)?", re.IGNORECASE)  # after ####


def boxed(text: str) -> str | None:
    """The answer a reply gives, or None where it gives none; "" for an empty box. Total, and linear in the length.

    An unclosed ``\\boxed{`` is no box. Of nested boxes the innermost last one counts. Escaped braces are not braces.
    """
    text = text[-LONGEST_REPLY:]
    answer, bare, latest = None, None, -1
    open_braces: list[tuple[bool, int, int]] = []  # is it a box's, where its \boxed starts, where its content starts
    for match in _BRACES.finditer(text):
        token = match.group()
        if match.group(1) is not None:  # \boxed 5, without braces; or a sentence about a \boxed environment
            bare = match.group(1)
        elif token.endswith("{") and token != "\\{":
            open_braces.append((token != "{", match.start(), match.end()))
        elif token == "}" and open_braces:
            is_box, start, content = open_braces.pop()
            if is_box and start > latest:
                answer, latest = text[content : match.start()], start
    if answer is None:
        answer = _final(text) or bare
    return answer if answer is None else _SLASH.sub("", answer.strip())


def _final(text: str) -> str | None:
    """What follows the last "Final Answer:" (or "is") or the last ``####``, whichever is later; else None."""
    end = -1
    for match in _FINAL.finditer(text):
        end = match.end()
    hashes = text.rfind("####")
    line = text[hashes + 4 :].strip().partition("\n")[0] if hashes >= 0 else ""
    line = _LABEL.sub("", line, count=1).rstrip("*_ ")
    if end >= 0 and not (line and hashes > end):
        rest = text[end:]
        if between := _DOLLARS.match(rest):
            return between.group(1)
        return re.split(r"\n|\. I hope|\.\s*$", rest, maxsplit=1)[0].rstrip("* ") or None
    return line or None


# Plain comparison -----------------------------------------------------------------------------------------------------

_INVISIBLE = re.compile(r"(?<!\\)\\[!,;: ]|(?<!\\)\\(?:left|right|displaystyle|large|q?quad)(?![a-zA-Z])|[~$€£\s]|\\\$")
_DECORATION = re.compile(r"\\(?:underline|uline|bm|boldsymbol)(?=\s*\{)|\\(?:text)?color\s*\{[^{}]*\}")
_ORDINAL = re.compile(  # 14^{\text{th}}, 2^{nd}, 3^\mathrm{rd}, 1^st
    r"([0-9]+)\^(?:\{\s*(?:\\(?:text|textrm|mathrm|mbox)\s*\{\s*(st|nd|rd|th)\s*\}|(st|nd|rd|th))\s*\}"
    r"|\\(?:text|textrm|mathrm|mbox)\s*\{\s*(st|nd|rd|th)\s*\}|(st|nd|rd|th)(?![a-zA-Z]))"
)
_DEGREES = re.compile(r"\^\{?\\circ\}?|°")
_TEXT = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
_UNIT = re.compile(r"(.*\S)\s*\\(?:text|textrm|mathrm|mbox)\s*\{([^{}]*)\}(?:\^\{?[0-9]\}?)?", re.DOTALL)
_WORDS = re.compile(  # a number and words: 18 dollars, 60 km per hour, 7 (eggs)
    r"([+-]?[$€£]?[0-9][0-9,]*(?:\.[0-9]+)?|[+-]?[0-9]+/[0-9]+)\s+\(?([A-Za-z]{2,}(?:[ ./-]+[A-Za-z]+)*)\)?\.?"
)
_MEANT = re.compile(  # words after a number that are no unit of it
    r"\b(?:or|and|not|to|pi|mod|hundreds?|thousands?|millions?|billions?|trillions?|dozens?|squared|cubed|plus|minus)\b"
)
_MIXED = re.compile(r"([+-]?)([0-9]+)(?:\s+([0-9]+)\s*/\s*([0-9]+)|\s*\\[dtc]?frac\s*\{([0-9]+)\}\s*\{([0-9]+)\})")
_SPACED = re.compile(r"[+-]?[0-9]{1,3}(?:\s[0-9]{3})+(?:\.[0-9]+)?")  # 20 000
_APART = re.compile(r"(?<=[0-9])\s+(?=[0-9])")
_NOT = re.compile(r"\bnot\b")
_WORD = re.compile(r"[A-Za-z]{4,}|[A-Z]{2,}")
_ZEROS = re.compile(r"(?<![0-9.,])0+(?=[0-9])")
_BASE = re.compile(r"(?:.*[0-9A-F])_\{?([0-9]{1,2})\}?")
_HALF_DAY = re.compile(r"[^a-z]*([ap])\.?m\.?[^a-z]*")
_GROUPED = r"[0-9]{1,3}(?:,[0-9]{3})+"
_DECIMAL = re.compile(rf"([+-]?)((?:{_GROUPED}|[0-9]+)?(?:\.[0-9]+)?)")
_RATIO = re.compile(r"([+-]?)(?:\\frac\{(-?[0-9]+)\}\{(-?[0-9]+)\}|([0-9]+)/([0-9]+))")
SURELY_DIFFERENT = Fraction(1, 10**5)  # numbers further apart than this are not one number rounded


def undecorated(answer: str) -> str:
    """An answer without what only makes it look otherwise: underlined, coloured, bold; ``14^{\\text{th}}`` is 14."""
    if len(answer) > LONGEST_ANSWER:
        return answer
    text = _ORDINAL.sub(_counted, _DECORATION.sub("", answer)).replace("\\varnothing", "\\emptyset").strip()
    while _grouped(text):
        text = text[1:-1].strip()
    return text


def _counted(match: re.Match[str]) -> str:
    """The number of an ordinal, if these are the letters that it ends in; else what was written."""
    digits, *said = match.groups()
    teen = digits[-2:] in ("11", "12", "13")
    ending = "th" if teen else {"1": "st", "2": "nd", "3": "rd"}.get(digits[-1], "th")
    return digits if ending in said else match.group()


def _grouped(text: str) -> bool:
    """Whether one pair of braces is around all of it."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return character == "}" and place == len(text) - 1
    return False


def plain(answer: str) -> tuple[str, str]:
    """An answer without what does not matter: (what it says, its unit). ``7\\text{ hours}.`` gives ("7", "hours")."""
    text = answer.strip().rstrip(".,;").strip().removeprefix("\\approx").strip()
    unit = ""
    if (found := _UNIT.fullmatch(text) or _WORDS.fullmatch(text)) and not _MEANT.search(found.group(2).lower()):
        text, unit = found.group(1), found.group(2).strip().lower()
        unit = "%" if unit in ("percent", "per cent") else unit
    if found := _MIXED.fullmatch(text):
        sign, whole, *parts = (part for part in found.groups() if part is not None)
        top, bottom = int(parts[0]), int(parts[1])
        text = f"{sign}\\frac{{{int(whole) * bottom + top}}}{{{bottom}}}"
    if _TEXT.fullmatch(text):  # the whole answer is a word: \text{Evelyn}
        text = _TEXT.sub(r"\1", text)
    if not _SPACED.fullmatch(text):
        text = _APART.sub("|", text)  # 1 2 is not 12
    text = _DEGREES.sub("", text).replace("{,}", ",")
    text = re.sub(r"\\[dtc]frac", r"\\frac", text)
    text = _INVISIBLE.sub("", text)
    if text.endswith("%"):
        text, unit = text.removesuffix("%").removesuffix("\\"), unit or "%"
    return _ZEROS.sub("", text).rstrip("."), unit


def number(text: str) -> Fraction | None:
    """The exact value of an integer, decimal or fraction as ``plain`` leaves it; None for everything else."""
    if found := _DECIMAL.fullmatch(text):
        sign, digits = found.group(1), found.group(2).replace(",", "")
        return Fraction(sign + digits) if digits else None
    if found := _RATIO.fullmatch(text):
        top, bottom = (int(digits) for digits in found.groups()[1:] if digits is not None)
        if bottom:
            return Fraction(-top if found.group(1) == "-" else top, bottom)
    return None


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


# Grading a file -------------------------------------------------------------------------------------------------------

AT_ONCE = 4096  # lines a batch


def grade_file(task: Task, responses: Path, verdicts: Path) -> Counter[str]:
    """Grade a JSON Lines file of replies; returns how many verdicts there are of each ``why``.

    Each line has ``reply`` and either the problem's ``id`` or the data set's own fields (``Task.recognise``). Each
    line of ``verdicts``, in the same order, is that line with ``gold`` (the right answer), ``answer`` (the reply's),
    ``correct`` and ``why``. Every line is read before any is graded, and the file appears whole or not at all. Raises
    UserError naming the line and the field that is wrong, or the file that cannot be read or written.
    """
    asked = []
    for where, row in lines(responses, content(responses)):
        with at(where):
            asked.append((row, task.recognise(row), text_of(row, "reply")))
    partial = verdicts.with_name(f".{verdicts.name}.{os.getpid()}.partial")
    whys: Counter[str] = Counter()
    try:
        with partial.open("w", encoding="ascii") as out:
            for start in range(0, len(asked), AT_ONCE):
                batch = asked[start : start + AT_ONCE]
                found = task.check_many([(problem, reply) for _, problem, reply in batch])
                for (row, problem, _), (answer, correct, why) in zip(batch, found, strict=True):
                    judged = {"gold": problem.answer, "answer": answer, "correct": correct, "why": why}
                    out.write(json.dumps({**row, **judged}) + "\n")
                    whys[why] += 1
            out.flush()
            os.fsync(out.fileno())
        partial.replace(verdicts)
    except OSError as error:
        raise UserError(f"{verdicts}: cannot be written ({error.strerror})") from error
    finally:
        partial.unlink(missing_ok=True)
    return whys
