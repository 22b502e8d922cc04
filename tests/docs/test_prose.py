"""The prose follows the style of .vale/styles/amend, with vale or without it, and names follow the glossary."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from prose import ROOT, files, rules, violations

SOURCES = sorted((ROOT / "src").rglob("*.py"))
PLACES = [
    *sorted(path for path in (ROOT / "src" / "amend").iterdir() if path.name != "__pycache__"),
    ROOT / "conf",
    ROOT / "README.md",
    *sorted(path for path in (ROOT / "docs").iterdir() if path.suffix in ("", ".md")),
    *sorted((ROOT / "sweeps").glob("*.yaml")),
]
GONE = {  # names of the glossary's left column that are no ordinary words
    "House", "house", "made", "keeper", "Keeper", "lesson", "Taught", "taught", "Patient", "patient", "Finding",
    "WithTool", "Drawn", "drawn", "Alarm", "Alarms", "Squares", "Rounds", "knobs", "dealt", "on_first", "any_",
    "add_up",
    "is_divided", "alike", "centre", "along", "Along", "heat", "warmly", "how", "picks", "spent", "at_rest",
    "pays_reference", "needs_reference", "why", "recognise", "go_on", "retell", "frozen", "spoken", "laid_out",
    "taken_up", "anyone", "walls", "Exam", "Remote", "Gone", "flood", "Trial", "fence", "Onlooker", "mend",
    "jointly", "beside", "explained", "begun", "ASIDE", "foreign", "Show", "Tally", "told", "seeded", "lost_reach",
    "standings", "clip_norm", "skip_equal", "warm_up", "micro_tokens", "behaviour", "credit", "credits",
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_forbidden_word(place: Path) -> None:
    assert not [line for path in files([place]) for line in violations(path)]


def test_the_rules_find_what_they_forbid(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text('"""Tokens are drawn by the house, be it small.\n\nFine.\n"""\n# for want of ranks\nX = "dealt"\n')
    found = list(violations(path))
    assert [line.split(":")[1] for line in found] == ["5", "1", "1", "1"] and len(rules()) > 50
    path = tmp_path / "a.md"
    path.write_text("A temperature is sampled.\n\n```\ndrawn\n```\n\n`drawn` is code.\n\nIt was told.\n")
    assert [line.split(":")[1] for line in violations(path)] == ["9"]


def names(path: Path) -> set[str]:
    """The names that a file defines: functions, classes, parameters, attributes and variables."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.id if isinstance(node, ast.Name) else node.attr)
    return {name.lstrip("_") for name in found}


def test_no_name_of_the_glossarys_left_column() -> None:
    wrong = {path.relative_to(ROOT).as_posix(): names(path) & GONE for path in SOURCES}
    assert not {path: sorted(found) for path, found in wrong.items() if found}
