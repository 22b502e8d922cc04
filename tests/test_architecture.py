"""The house rules that a machine can hold: layout, sizes, who imports whom, one word in three places."""

from __future__ import annotations

import ast
import io
import re
import shutil
import subprocess
import sys
import tokenize
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from mutants import MUTANTS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "amend"
SOURCES = sorted(PACKAGE.rglob("*.py"))
SHARED = ("__init__", "base", "context", "gradient_update", "imitation", "prompting")  # what algorithms share
ALGORITHMS = sorted(path for path in (PACKAGE / "algo").glob("*.py") if path.stem not in SHARED)
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def imports(path: Path) -> set[str]:
    """Modules that a file imports at run time: all but those under ``if TYPE_CHECKING``."""
    found: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    unread = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in unread:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_files_are_short_and_open_with_words(path: Path) -> None:
    """Lines of code are counted: documentation has no limit."""
    text = path.read_text(encoding="utf-8")
    assert lines_of_code(text) <= (150 if path.parent.name == "algo" else 300)
    assert len(ast.get_docstring(ast.parse(text)) or "") > 40


def lines_of_code(text: str) -> int:
    """Lines with code, without blank lines, comments and docstrings."""
    tree = ast.parse(text)
    prose = {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    skipped = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    code = {
        line
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in skipped
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(code - prose)


def test_at_most_eight_modules_lie_beside_the_packages() -> None:
    assert len([path for path in PACKAGE.glob("*.py") if path.stem not in ("__init__", "__main__")]) <= 8


def test_no_module_imports_itself_through_others() -> None:
    """Not even inside a package, and not in a function either; names that are read for types alone do not count."""
    modules = {
        "amend."
        + path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__"): path
        for path in SOURCES
    }
    arrows = {name: {found for found in imports(path) if found in modules} for name, path in modules.items()}
    order = TopologicalSorter(arrows)
    order.prepare()  # CycleError names the circle


@pytest.mark.parametrize("path", ALGORITHMS, ids=lambda p: p.stem)
def test_one_word_in_three_places(path: Path) -> None:
    assert (ROOT / "conf" / "algo" / f"{path.stem}.yaml").is_file()
    assert (ROOT / "tests" / "algo" / f"test_{path.stem}.py").is_file()


def test_every_choice_of_algorithm_has_its_file() -> None:
    assert {path.stem for path in (ROOT / "conf" / "algo").glob("*.yaml")} == {path.stem for path in ALGORITHMS}


@pytest.mark.parametrize("path", ALGORITHMS, ids=lambda p: p.stem)
def test_no_algorithm_imports_another(path: Path) -> None:
    others = {f"amend.algo.{other.stem}" for other in ALGORITHMS if other != path}
    assert not imports(path) & others


def test_every_fault_to_be_tried_can_be_made() -> None:
    """A text that is no longer in its file tries nothing, and ``make mutants`` is too long to run on every change."""
    found = {(file, old): (PACKAGE / file).read_text(encoding="utf-8").count(old) for file, old, *_ in MUTANTS}
    assert not {fault: count for fault, count in found.items() if count != 1}


def test_import_contracts() -> None:
    linter = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    assert linter is not None, "import-linter is part of the dev extra"
    said = subprocess.run([linter, "--no-cache"], capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert said.returncode == 0, said.stdout + said.stderr


@pytest.mark.parametrize(
    "room", ["results/metrics", "results/stats", "results/analysis", "results/report", "config", "sweep", "logger"]
)
def test_rooms_without_torch(room: str) -> None:
    name = room.replace("/", ".")
    stems = [path.stem for path in (PACKAGE / room).glob("*.py") if path.stem not in ("__init__", "__main__")]
    modules = [f"amend.{name}.{stem}" for stem in stems]
    code = f"import importlib, sys; [importlib.import_module(m) for m in {modules}]; sys.exit('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert said.returncode == 0, said.stderr or "torch was imported"


def test_the_top_level_is_the_houses() -> None:
    tracked = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT).stdout.split()
    allowed = {
        "pyproject.toml", "README.md", "mkdocs.yml", "run.py", "conf", "src", "sweeps", "tests", "notebooks", "docs",
        "Makefile", "LICENSE", "CITATION.cff", "constraints.txt", ".ci", ".gitignore", ".pre-commit-config.yaml",
        ".vale", ".vale.ini",
    }  # fmt: skip
    assert {name.split("/")[0] for name in tracked} <= allowed


def test_every_dependency_is_bounded_and_pinned() -> None:
    project = PYPROJECT["project"]
    for wanted in project["dependencies"] + project["optional-dependencies"]["dev"]:
        assert re.search(r">=.*,<", wanted), wanted
    pinned = {
        line.split("==")[0].lower().replace("_", "-"): line.split("==")[1]
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").split("\n")
        if "==" in line and not line.startswith("#")
    }
    assert not [version for version in pinned.values() if "+" in version], "a local build is no version to pin"
    for wanted in project["dependencies"] + project["optional-dependencies"]["dev"]:
        assert re.split(r"[<>=\[]", wanted)[0].lower().replace("_", "-") in pinned, wanted


def test_the_package_imports_what_it_declares() -> None:
    """Nothing is used that only happens to be installed."""
    names = {
        "pytorch_lightning": "pytorch-lightning",
        "hydra": "hydra-core",
        "math_verify": "math-verify",
        "yaml": "pyyaml",
        "lightning_fabric": "pytorch-lightning",  # whose wheel it comes in
    }
    declared = {re.split(r"[<>=]", wanted)[0] for wanted in PYPROJECT["project"]["dependencies"]}
    used = {name.split(".")[0] for path in SOURCES for name in imports(path)}
    foreign = used - set(sys.stdlib_module_names) - {"amend", "__future__"}
    assert {names.get(name, name) for name in foreign} <= declared


def test_the_wheel_carries_conf_and_the_built_in_model() -> None:
    wheel = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel == {"packages": ["src/amend"], "force-include": {"conf": "amend/conf"}}
