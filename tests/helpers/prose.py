"""The rules of .vale/styles/amend, applied without vale: to Markdown, to docstrings, comments and messages of Python,
and to the comments of YAML.

    python tests/helpers/prose.py src/amend/ops README.md        prints path:line: rule
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
STYLE = ROOT / ".vale" / "styles" / "amend"
CODE = re.compile(r"``.*?``|`[^`\n]*`|<[^>\n]*>|\]\([^)]*\)|https?://\S+", re.DOTALL)
FENCE = re.compile(r"^(\s*)(```|~~~).*?^\s*\2\s*$", re.DOTALL | re.MULTILINE)


@cache
def rules() -> list[tuple[re.Pattern[str], str]]:
    """Each rule as a pattern and what to write instead."""
    found: list[tuple[re.Pattern[str], str]] = []
    for path in sorted(STYLE.glob("*.yml")):
        rule: dict[str, Any] = yaml.safe_load(path.read_text())
        flags = re.IGNORECASE if rule.get("ignorecase") else re.NOFLAG
        if rule["extends"] == "substitution":
            found += [(re.compile(rf"\b(?:{old})\b", flags), new) for old, new in rule["swap"].items()]
        else:
            found += [
                (re.compile(rf"(?<!\w)(?:{old})\b", flags), rule["message"].replace("'%s': ", "").replace("'%s' ", ""))
                for old in rule["tokens"]
            ]
    return found


@cache
def any_rule() -> re.Pattern[str]:
    """One pattern that matches wherever a rule does, to pass over clean passages quickly."""
    return re.compile("|".join(f"(?:{pattern.pattern})" for pattern, _ in rules()), re.IGNORECASE)


def blanked(pattern: re.Pattern[str], text: str) -> str:
    """``text`` with every match replaced by spaces, so that lines keep their numbers."""
    return pattern.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), text)


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """The passages of prose in a file, each with the line on which it begins."""
    text = path.read_text()
    if path.suffix == ".md":
        yield 1, blanked(FENCE, text)
    elif path.suffix == ".py":
        comment: list[str] = []
        begun = last = 0
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                if comment and token.start[0] == last + 1:
                    comment.append(token.string.lstrip("#"))
                else:
                    if comment:
                        yield begun, "\n".join(comment)
                    comment, begun = [token.string.lstrip("#")], token.start[0]
                last = token.start[0]
        if comment:
            yield begun, "\n".join(comment)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and re.search(r"\w \w", node.value):
                yield node.lineno, node.value
    elif path.suffix in (".yaml", ".yml"):
        lines = [line.split("#", 1)[1] if "#" in line else "" for line in text.splitlines()]
        yield 1, "\n".join(lines)


def violations(path: Path) -> Iterator[str]:
    """Every place in ``path`` at which a rule is broken, as ``path:line: 'words': what to write``."""
    for first, passage in prose(path):
        text = blanked(CODE, passage)
        for pattern, instead in rules() if any_rule().search(text) else ():
            for found in pattern.finditer(text):
                words = " ".join(found.group().split())
                yield f"{path}:{first + text.count(chr(10), 0, found.start())}: {words!r}: {instead}"


def files(paths: list[Path]) -> Iterator[Path]:
    """The files with prose in ``paths``."""
    for path in paths:
        if path.is_file():
            yield path
        else:
            yield from sorted(p for p in path.rglob("*") if p.suffix in (".py", ".md", ".yaml", ".yml"))


if __name__ == "__main__":
    broken = [line for path in files([Path(word) for word in sys.argv[1:]]) for line in violations(path)]
    print(*broken, f"{len(broken)} found", sep="\n")
    sys.exit(bool(broken))
