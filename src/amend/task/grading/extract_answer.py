r"""Extract the final answer from a reply: the last ``\boxed{...}``, or the sentence that announces the answer."""

from __future__ import annotations

import re

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
