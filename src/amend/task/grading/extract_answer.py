r"""Extract the final answer from a reply: the content of the last ``\boxed{}``, or the text after "final answer"."""

from __future__ import annotations

import re

LONGEST_REPLY = 100_000  # number of characters at the end of a reply that are searched for an answer
LONGEST_ANSWER = 200  # characters; the longest gold answer of MATH has 159

_BRACES = re.compile(r"\\boxed +([^\s{}$\\]{1,40})|\\{1,2}(?:boxed|fbox)\s*+\{|\\.|[{}]", re.DOTALL)
_SLASH = re.compile(r"(?<!\\)\\$")  # the rest of a LaTeX space, "\\ ", after stripping
_DOLLARS = re.compile(r"\$+((?:\\.|[^$\\])*+)", re.DOTALL)
_FINAL = re.compile(
    r"final answer(?:\s++is\b:?|[*_]{0,3}\s?:)[\s*_]*+(?:the (?:final )?answer is\b:?[\s*_]*+)?", re.IGNORECASE
)

_LABEL = re.compile(r"[#*_:\s]*+(?:(?:the )?(?:final )?answer\b(?: is\b)?[\s:*_]*+)?", re.IGNORECASE)  # after ####


def extract_answer(text: str) -> str | None:
    r"""Return the final answer of a reply.

    The sources, in order of preference:

        1. the content of the last balanced ``\boxed{}``; of nested boxes, the innermost
        2. the text after the last "Final Answer:", "final answer is" or ``####``
        3. the word after the last ``\boxed`` without braces

    An unclosed ``\boxed{`` is ignored, and an escaped brace does not count as a brace. Time is linear in the length.

    Args:
        text: The reply. Any string is valid. Only the last ``LONGEST_REPLY`` characters are searched.

    Returns:
        The answer without surrounding space; "" for an empty box; None if the reply has no answer.
    """
    text = text[-LONGEST_REPLY:]
    answer, unbraced, latest = None, None, -1
    open_braces: list[tuple[bool, int, int]] = []  # is it a \boxed, start of the command, start of its content
    for match in _BRACES.finditer(text):
        token = match.group()
        if match.group(1) is not None:  # \boxed 5 without braces, or a sentence that mentions \boxed
            unbraced = match.group(1)
        elif token.endswith("{") and token != "\\{":
            open_braces.append((token != "{", match.start(), match.end()))
        elif token == "}" and open_braces:
            is_box, start, content = open_braces.pop()
            if is_box and start > latest:
                answer, latest = text[content : match.start()], start
    if answer is None:
        answer = _find_announced_answer(text) or unbraced
    return answer if answer is None else _SLASH.sub("", answer.strip())


def _find_announced_answer(text: str) -> str | None:
    """Return the text after the last "Final Answer:" (or "is") or the last ``####``: after the later of the two."""
    end = -1
    for match in _FINAL.finditer(text):
        end = match.end()
    hashes = text.rfind("####")
    line = text[hashes + 4 :].strip().partition("\n")[0] if hashes >= 0 else ""
    line = _LABEL.sub("", line, count=1).rstrip("*_ ")
    if end >= 0 and not (line and hashes > end):
        rest = text[end:]
        if formula := _DOLLARS.match(rest):
            return formula.group(1)
        return re.split(r"\n|\. I hope|\.\s*$", rest, maxsplit=1)[0].rstrip("* ") or None
    return line or None
