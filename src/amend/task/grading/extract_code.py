"""Extract the program from a reply: its code blocks, the definitions that it needs, and the entry point."""

from __future__ import annotations

import ast
import builtins
import re
import warnings
from collections.abc import Mapping, Sequence
from textwrap import dedent
from typing import Any

LONGEST_REPLY = 2**20  # characters, from the end of a reply, in which code is looked for
LONGEST_PROGRAM = 2**16  # characters
PYTHON = ("", "python", "py", "python3")
IMPORTS = (ast.Import, ast.ImportFrom)
DEFINES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
MAKERS = (*IMPORTS, *DEFINES)
BEGINS = re.compile(r"^(?:def|class|import|from|async def)[ \t]+\w|^@\w", re.MULTILINE)


def whole(meta: Mapping[str, Any], reply: str) -> str | None:
    """The program that a reply amounts to: with what the question gave it, imports and helpers or a function's head."""
    code = extracted(reply, meta["entry"])
    if code is None or not code.strip():
        return None
    given = meta.get("given", "")
    if "head" in meta and not defines(code, meta["entry"]):
        return f"{given}\n{meta['head']}\n{body(code)}"
    return behind(f"{given}\n", code) if given else code


def body(code: str) -> str:
    """The rest of a function, indented: up to a line that is not, for the first may have lost its spaces to the
    question's end; or up to its last ``return``, where one that is not indented says that all have lost them."""
    lines = code.strip("\r\n").split("\n")
    bare = [i for i, line in enumerate(lines) if line.strip() and not line[0].isspace()]
    returns = [i for i in bare if i and re.match(r"return\b", lines[i])]
    if returns and 0 in bare:
        ends = next((i for i in bare if i > returns[-1] and lines[i][0] not in ")]}"), len(lines))
        dedented = "\n".join(f"    {line}" for line in lines[:ends])
        if parsed(f"def f():\n{dedented}"):
            return dedented
    ends = next((i for i in bare if i), len(lines))
    return "\n".join([lines[0] if 0 not in bare else f"    {lines[0]}", *lines[1:ends]])


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
        asked = [i for i, code in enumerate(blocks) if defines(code, entry)]
        if not asked:
            return ([code for code in blocks if BEGINS.search(code)] or blocks)[-1]
        answer, others = blocks[asked[-1]], blocks[: asked[-1]] + blocks[asked[-1] + 1 :]
        return behind(used(answer, others), answer)
    if marked:
        return text
    if (first := BEGINS.search(text)) and (defines(text, entry) or not _rest(text[: first.start()])):
        return text[first.start() :]
    return text if _rest(text) else None


def _rest(text: str) -> bool:
    """Does it look like the rest of a function?"""
    return bool(re.match(r"\n*[ \t]+\S", text) or re.search(r"^[ \t]*return\b", text, re.MULTILINE))


def used(code: str, others: Sequence[str]) -> str:
    """The imports, functions and classes that ``code`` needs and only the ``others`` make, with what those need in
    turn; the last that makes a name counts. Nothing where ``code`` does not parse."""
    answer = parsed(code)
    if answer is None:
        return ""
    makers: dict[str, ast.stmt] = {}
    order: list[ast.stmt] = []
    for tree in (*(parsed(other) for other in others), answer):  # its own imports may be what a helper needs
        for node in tree.body if tree else ():
            if not isinstance(node, MAKERS if tree is not answer else IMPORTS):
                continue
            order.append(node)
            makers |= dict.fromkeys(made(node), node)
    wanted: set[int] = set()
    todo = [name for name in needs(answer) if name in makers]
    while todo:
        node = makers[todo.pop()]
        if id(node) not in wanted:
            wanted.add(id(node))
            todo += [name for name in needs(node) if name in makers]
    own = {id(node) for node in answer.body}
    if wanted <= own:
        return ""
    chosen = sorted((node for node in order if id(node) in wanted), key=lambda node: not isinstance(node, IMPORTS))
    try:
        return "".join(f"{ast.unparse(node)}\n" for node in chosen)
    except RecursionError:  # what can be parsed can be too deep to be written down again
        return ""


def parsed(code: str) -> ast.Module | None:
    """The tree of a program; None where it is none, or is too long or too deep to be looked at."""
    if len(code) > LONGEST_PROGRAM:
        return None
    try:
        with warnings.catch_warnings(action="ignore"):  # of invalid escapes
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def made(node: ast.stmt) -> list[str]:
    """The names that an import, a function or a class makes."""
    if isinstance(node, IMPORTS):
        return [alias.asname or alias.name.partition(".")[0] for alias in node.names]
    return [node.name] if isinstance(node, DEFINES) else []


def needs(tree: ast.AST) -> set[str]:
    """The names that are read in a program and bound nowhere in it, whatever their scopes."""
    read: set[str] = set()
    bound = set(dir(builtins))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, (*IMPORTS, *DEFINES)):
            bound.update(made(node))
        elif isinstance(node, ast.ExceptHandler) and node.name:
            bound.add(node.name)
    return read - bound


def behind(before: str, code: str) -> str:
    """A program behind another, with what it imports from the future in front of both."""
    tree = parsed(code) if before else None
    future = [n for n in tree.body if isinstance(n, ast.ImportFrom) and n.module == "__future__"] if tree else []
    lines = code.split("\n")
    for node in future:
        lines[node.lineno - 1 : node.end_lineno] = [""] * ((node.end_lineno or node.lineno) - node.lineno + 1)
    return "".join(f"{ast.unparse(node)}\n" for node in future) + before + "\n".join(lines)


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
