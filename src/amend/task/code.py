"""What the tasks of writing programs share: the code of a reply, and its verdict from the sandbox.

A reply's code is what stands between ``[BEGIN]`` and ``[DONE]`` (the format of MBPP's prompt, whose ``[BEGIN]`` may
stand in the prompt; of several the last that defines the function asked for), and within that what is fenced as
Python. Of several fenced blocks the last one counts that defines the function asked for, so that a rewritten solution
wins over the one it quotes, and an example of its use over neither. Without fences it is the text from the first line
that only Python begins with.

Why a verdict is what it is: right | wrong | no answer (there was no code) | refused (longer than 64 KiB) | error (it
raised, or ended) | timeout | flood | untested (the data set's test could not be run; named in
the log, and counted after each evaluation).
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from textwrap import dedent
from typing import Any

from amend.task.sandbox import Kind, Sandbox, Trial
from amend.types import Problem, Verdict

LONGEST_REPLY = 2**20  # characters, from the end of a reply, in which code is looked for
LONGEST_PROGRAM = 2**16  # characters
PYTHON = ("", "python", "py", "python3")
BEGINS = re.compile(r"^(?:def|class|import|from|async def)[ \t]+\w|^@\w", re.MULTILINE)
log = logging.getLogger(__name__)


class Judge:
    """Tells what programs are worth. UserError in one line where there is no sandbox of this kind on this machine."""

    def __init__(self, *, sandbox: Kind, seconds: float) -> None:
        self._sandbox = Sandbox(kind=sandbox, seconds=seconds)

    def check_many(self, pairs: Sequence[tuple[Problem, str]]) -> list[Verdict]:
        """The verdict on each reply, in order. Total: any string gets one."""
        programs = [whole(problem.meta, reply) for problem, reply in pairs]
        verdicts = [Verdict(code, False, "no answer" if code is None else "refused") for code in programs]
        run = [i for i, code in enumerate(programs) if code is not None and len(code) <= LONGEST_PROGRAM]
        found = self._sandbox.run([trial(pairs[i][0], str(programs[i])) for i in run])
        for i, outcome in zip(run, found, strict=True):
            verdicts[i] = Verdict(programs[i], outcome.why == "right", outcome.why)
        if broken := Counter(f"{pairs[i][0].id} ({said.detail})" for i, said in zip(run, found, strict=True)
                             if said.why == "untested"):  # fmt: skip
            log.warning("tests that could not be run: %s", ", ".join(list(broken)[:5]))
        return verdicts


def trial(problem: Problem, program: str) -> Trial:
    """A program against the tests of a problem."""
    meta = problem.meta
    return Trial(program, meta["test"], meta["prelude"], dict(meta["names"]))


def whole(meta: Mapping[str, Any], reply: str) -> str | None:
    """The program that a reply amounts to: with what the question gave it, imports and helpers or a function's head."""
    code = extracted(reply, meta["entry"])
    if code is None or not code.strip():
        return None
    if "head" not in meta or defines(code, meta["entry"]):
        return f"{meta['given']}\n{code}" if meta.get("given") else code
    lines = code.strip("\r\n").split("\n")  # the rest of a function; it ends where a line is not indented
    indented = lines[0] if lines[0][:1].isspace() else f"    {lines[0]}"
    body = [indented]
    for line in lines[1:]:
        if line.strip() and not line[0].isspace():
            break
        body.append(line)
    return f"{meta['given']}\n{meta['head']}\n" + "\n".join(body)


def extracted(reply: str, entry: str) -> str | None:
    """The code of a reply; None where there is none. Total, and linear in the length."""
    text = reply[-LONGEST_REPLY:].replace("\r\n", "\n")
    marked = "[DONE]" in text or "[BEGIN]" in text
    text = _answered(text.split("[BEGIN]"), entry)
    blocks = []
    for block in text.replace("~~~", "```").split("```")[1::2]:
        language, line, code = block.partition("\n")
        if line and (language.split() or [""])[0].lower() in PYTHON:
            whole = dedent(code)  # a block in a list is indented as a whole; so is a function's rest, which has to be
            blocks.append(whole if defines(whole, entry) else code)
    if blocks:
        asked = [code for code in blocks if defines(code, entry)]
        return (asked or [code for code in blocks if BEGINS.search(code)] or blocks)[-1]
    if marked:
        return text
    if first := BEGINS.search(text):
        return text[first.start() :]
    return text if re.match(r"\n*[ \t]+\S", text) or re.search(r"^[ \t]*return\b", text, re.MULTILINE) else None


def _answered(parts: Sequence[str], entry: str) -> str:
    """Of what follows each ``[BEGIN]``, up to ``[DONE]``, the last that defines what was asked for, since a base model
    goes on with problems of its own; where none does, the first that is ended, else the last."""
    ended = [part.partition("[DONE]") for part in parts]
    asked = [text for text, _, _ in ended if defines(text, entry)]
    return (asked[-1:] or [text for text, done, _ in ended if done and text.strip()][:1] or [ended[-1][0]])[0]


def defines(code: str, name: str) -> bool:
    """Does the code, at its top level, define something of this name?"""
    word = re.escape(name)
    return bool(re.search(rf"^(?:(?:async[ \t]+)?def[ \t]+|class[ \t]+)?{word}[ \t]*(?:[(:=\[]|$)", code, re.MULTILINE))
