"""The notebooks: each a pair of files that say the same, short, with pictures, defining nothing of their own.

That they run is nbmake's to show: pytest collects notebooks/ beside tests/.
"""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def cells(path: Path) -> list[dict[str, object]]:
    return list(json.loads(path.read_text(encoding="utf-8"))["cells"])


def test_they_are_the_three() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["01_walkthrough", "02_add_an_algorithm", "03_read_a_sweep"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_both_files_of_a_pair_say_the_same(path: Path) -> None:
    jupytext = pytest.importorskip("jupytext", reason="no jupytext; enable with: make install-dev")
    one, other = (jupytext.read(p) for p in (path, path.with_suffix(".py")))
    assert [(c.cell_type, c.source) for c in one.cells] == [(c.cell_type, c.source) for c in other.cells]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_import_amend_and_define_nothing(path: Path) -> None:
    source = path.with_suffix(".py").read_text(encoding="utf-8")
    tree = ast.parse(source)
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    assert not [node for node in ast.walk(tree) if isinstance(node, kinds)]
    assert any(isinstance(node, ast.ImportFrom) and (node.module or "").startswith("amend") for node in ast.walk(tree))
    assert len(source.splitlines()) <= 110


def test_the_third_shows_the_results_that_are_committed() -> None:
    """Executed again after the last of them: every sweep's line, and pictures."""
    sweeps = Path(__file__).parents[1] / "sweeps"
    text = json.dumps([cell.get("outputs") for cell in cells(NOTEBOOKS[2])])
    assert not [path.stem for path in sweeps.glob("*.json") if f"{path.stem}: " not in text]
    claims = (sweeps / "CLAIMS.md").read_text(encoding="utf-8")
    tally = next(line for line in claims.splitlines() if line.startswith("Of ") and " claims, " in line)
    assert tally in text and text.count("image/svg+xml") >= 4


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_shown_is_small_and_of_no_one_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text) < 300_000
    outputs = [output for cell in cells(path) for output in cell.get("outputs", [])]  # type: ignore[attr-defined]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    assert not re.search(r'["\s(](/tmp|/home|/root|/Users)/', text)
