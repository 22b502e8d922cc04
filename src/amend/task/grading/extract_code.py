"""Extract a runnable program from a reply.

``build_program`` is the entry point. It selects the code block that defines the requested function. It then adds the
definitions of other blocks that this block needs, and the imports and helpers of the prompt. If the reply is only the
body of a function, ``build_program`` adds the function's head. ``code_grader`` describes how a block is selected.
"""

from __future__ import annotations

import ast
import builtins
import re
import warnings
from collections.abc import Mapping, Sequence
from textwrap import dedent
from typing import Any

LONGEST_REPLY = 2**20  # number of characters at the end of a reply that are searched for code
LONGEST_PROGRAM = 2**16  # characters
PYTHON = ("", "python", "py", "python3")
IMPORTS = (ast.Import, ast.ImportFrom)
DEFINITION_NODES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
BINDING_NODES = (*IMPORTS, *DEFINITION_NODES)
CODE_START = re.compile(r"^(?:def|class|import|from|async def)[ \t]+\w|^@\w", re.MULTILINE)


def build_program(meta: Mapping[str, Any], reply: str) -> str | None:
    """Return the program of a reply, completed with the imports, helpers and function head of the prompt.

    Args:
        meta: ``entry`` is the name of the requested function. Optional: ``given``, the imports and helpers of the
            prompt; ``head``, the first lines of the function, which are used if the reply is only its body.
        reply: The reply. Any string is valid.

    Returns:
        Source code, which may be invalid Python; None if the reply has no code.
    """
    code = extract_code(reply, meta["entry"])
    if code is None or not code.strip():
        return None
    prelude = meta.get("given", "")
    if "head" in meta and not defines(code, meta["entry"]):
        return f"{prelude}\n{meta['head']}\n{indent_body(code)}"
    return prepend_code(f"{prelude}\n", code) if prelude else code


def indent_body(code: str) -> str:
    """Return the body of a function from a reply that continues its head, with indentation.

    The first line may lack its indentation because the prompt ends with these spaces. The body then ends before the
    next line without indentation. If a later ``return`` has no indentation either, the whole body lacks it: all lines
    up to the end of the last such ``return`` are indented. This reading is used only if the result parses.

    Args:
        code: The text that follows the head of the function.

    Returns:
        The indented body.
    """
    lines = code.strip("\r\n").split("\n")
    unindented = [i for i, line in enumerate(lines) if line.strip() and not line[0].isspace()]
    returns = [i for i in unindented if i and re.match(r"return\b", lines[i])]
    if returns and 0 in unindented:
        end = next((i for i in unindented if i > returns[-1] and lines[i][0] not in ")]}"), len(lines))
        indented = "\n".join(f"    {line}" for line in lines[:end])
        if parse_program(f"def f():\n{indented}"):
            return indented
    end = next((i for i in unindented if i), len(lines))
    return "\n".join([lines[0] if 0 not in unindented else f"    {lines[0]}", *lines[1:end]])


def extract_code(reply: str, entry: str) -> str | None:
    """Return the code of a reply, without the imports and helpers of the prompt.

    Time is linear in the length of the reply.

    Args:
        reply: The reply. Any string is valid. Only the last ``LONGEST_REPLY`` characters are searched.
        entry: The name of the requested function.

    Returns:
        The code, which may be only the body of a function; None if the reply has no code.
    """
    text = reply[-LONGEST_REPLY:].replace("\r\n", "\n")
    marked = "[DONE]" in text or "[BEGIN]" in text
    text = _select_marked_text(text.split("[BEGIN]"), entry)
    blocks = []
    for block in text.replace("~~~", "```").split("```")[1::2]:
        language, line, code = block.partition("\n")
        if line and (language.split() or [""])[0].lower() in PYTHON:
            dedented = dedent(code)  # a block in a Markdown list is indented; a function body must stay indented
            blocks.append(dedented if defines(dedented, entry) else code)
    if blocks:
        defining = [i for i, code in enumerate(blocks) if defines(code, entry)]
        if not defining:
            return ([code for code in blocks if CODE_START.search(code)] or blocks)[-1]
        answer, others = blocks[defining[-1]], blocks[: defining[-1]] + blocks[defining[-1] + 1 :]
        return prepend_code(collect_dependencies(answer, others), answer)
    if marked:
        return text
    if (first := CODE_START.search(text)) and (defines(text, entry) or not _is_function_body(text[: first.start()])):
        return text[first.start() :]
    return text if _is_function_body(text) else None


def _is_function_body(text: str) -> bool:
    """Check whether a text looks like the body of a function."""
    return bool(re.match(r"\n*[ \t]+\S", text) or re.search(r"^[ \t]*return\b", text, re.MULTILINE))


def collect_dependencies(code: str, others: Sequence[str]) -> str:
    """Return the imports, functions and classes of other code blocks that ``code`` needs.

    Definitions that those need in turn are included. If several blocks define a name, the last definition is used.

    Args:
        code: The selected code block.
        others: The other code blocks of the reply.

    Returns:
        Source code to put before ``code``; "" if ``code`` needs nothing or does not parse.
    """
    answer = parse_program(code)
    if answer is None:
        return ""
    definitions: dict[str, ast.stmt] = {}
    statements: list[ast.stmt] = []
    for tree in (*(parse_program(other) for other in others), answer):  # a helper may need the imports of the answer
        for node in tree.body if tree else ():
            if not isinstance(node, BINDING_NODES if tree is not answer else IMPORTS):
                continue
            statements.append(node)
            definitions |= dict.fromkeys(defined_names(node), node)
    needed: set[int] = set()
    pending = [name for name in free_names(answer) if name in definitions]
    while pending:
        node = definitions[pending.pop()]
        if id(node) not in needed:
            needed.add(id(node))
            pending += [name for name in free_names(node) if name in definitions]
    answer_nodes = {id(node) for node in answer.body}
    if needed <= answer_nodes:
        return ""
    selected = sorted(
        (node for node in statements if id(node) in needed), key=lambda node: not isinstance(node, IMPORTS)
    )
    try:
        return "".join(f"{ast.unparse(node)}\n" for node in selected)
    except RecursionError:  # ast.unparse recurses deeper than ast.parse
        return ""


def parse_program(code: str) -> ast.Module | None:
    """Parse a program; return None if it is invalid, too deeply nested, or longer than ``LONGEST_PROGRAM``."""
    if len(code) > LONGEST_PROGRAM:
        return None
    try:
        with warnings.catch_warnings(action="ignore"):  # invalid escapes in strings
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def defined_names(node: ast.stmt) -> list[str]:
    """Return the names that an import, a function or a class defines."""
    if isinstance(node, IMPORTS):
        return [alias.asname or alias.name.partition(".")[0] for alias in node.names]
    return [node.name] if isinstance(node, DEFINITION_NODES) else []


def free_names(tree: ast.AST) -> set[str]:
    """Return the names that a program reads and binds nowhere. Scopes are ignored."""
    read: set[str] = set()
    bound = set(dir(builtins))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            (read if isinstance(node.ctx, ast.Load) else bound).add(node.id)
        elif isinstance(node, ast.arg):
            bound.add(node.arg)
        elif isinstance(node, (*IMPORTS, *DEFINITION_NODES)):
            bound.update(defined_names(node))
        elif isinstance(node, ast.ExceptHandler) and node.name:
            bound.add(node.name)
    return read - bound


def prepend_code(before: str, code: str) -> str:
    """Return ``before`` followed by ``code``, with the ``__future__`` imports of ``code`` moved to the top."""
    tree = parse_program(code) if before else None
    future = [n for n in tree.body if isinstance(n, ast.ImportFrom) and n.module == "__future__"] if tree else []
    lines = code.split("\n")
    for node in future:
        lines[node.lineno - 1 : node.end_lineno] = [""] * ((node.end_lineno or node.lineno) - node.lineno + 1)
    return "".join(f"{ast.unparse(node)}\n" for node in future) + before + "\n".join(lines)


def _select_marked_text(parts: Sequence[str], entry: str) -> str:
    """Select one of the texts that follow ``[BEGIN]``, each up to ``[DONE]``.

    Take the last text that defines ``entry``, because a base model continues with problems that it invents. If no text
    defines it, take the first one that ends in ``[DONE]``, else the last one.
    """
    passages = [part.partition("[DONE]") for part in parts]
    defining = [text for text, _, _ in passages if defines(text, entry)]
    return (defining[-1:] or [text for text, done, _ in passages if done and text.strip()][:1] or [passages[-1][0]])[0]


def defines(code: str, name: str) -> bool:
    """Check whether the code defines ``name`` at its top level, as a function, class or variable."""
    word = re.escape(name)
    return bool(re.search(rf"^(?:(?:async[ \t]+)?def[ \t]+|class[ \t]+)?{word}[ \t]*(?:[(:=\[]|$)", code, re.MULTILINE))
