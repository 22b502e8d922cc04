"""The examples of docs/extend run as printed, from classes and configurations outside of amend."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from forked import Forked

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "extend").glob("*.md"))
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SMALL = ["debug=fast", "logger=none", "trainer.threads=1"]


def example(page: Path, folder: Path) -> list[str]:
    """Write the files of a page, whose first line names each, into ``folder``; return the commands of the page."""
    commands: list[str] = []
    for language, text in FENCE.findall(page.read_text(encoding="utf-8")):
        name = text.splitlines()[0].removeprefix("# ")
        if language == "sh":
            commands += [line for line in text.splitlines() if line.startswith("python run.py --config-dir my_conf")]
        elif name.startswith(("my_project/", "my_conf/")):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return commands


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_example_of_a_page_runs_as_printed(page: Path, tmp_path: Path) -> None:
    shutil.copy(ROOT / "run.py", tmp_path)
    command = example(page, tmp_path)[0]
    assert "scale=smoke" in command and list(tmp_path.rglob("*.py")) and list(tmp_path.rglob("*.yaml"))
    words = shlex.split(command)[2:]
    folder = ["my_conf" if word == "my_conf" else word for word in words]
    environment = {"PYTHONPATH": f"{tmp_path}:{ROOT / 'src'}"}
    run = Forked([*folder, *SMALL, f"runs_dir={tmp_path / 'runs'}"], tmp_path, environment)
    _, error = run.communicate(timeout=300)
    assert run.returncode == 0, error
    summary = json.loads(next((tmp_path / "runs").rglob("summary.json")).read_text(encoding="utf-8"))
    assert summary["cost"]["optimizer_steps"] > 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_of_a_page_is_a_configuration(page: Path, tmp_path: Path) -> None:
    shutil.copy(ROOT / "run.py", tmp_path)
    for command in example(page, tmp_path):
        words = [str(tmp_path / word) if word == "my_conf" else word for word in shlex.split(command)[2:]]
        run = Forked([*words, "--cfg", "job"], tmp_path, {"PYTHONPATH": f"{tmp_path}:{ROOT / 'src'}"})
        out, error = run.communicate(timeout=300)
        assert run.returncode == 0 and "my_project" in out, (command, error)


def test_a_wrong_value_of_a_class_outside_amend_is_one_line(tmp_path: Path) -> None:
    shutil.copy(ROOT / "run.py", tmp_path)
    example(ROOT / "docs" / "extend" / "algorithm.md", tmp_path)
    words = ["--config-dir", str(tmp_path / "my_conf"), "algo=median", "algo.lr=ten"]
    run = Forked(words, tmp_path, {"PYTHONPATH": f"{tmp_path}:{ROOT / 'src'}"})
    _, error = run.communicate(timeout=300)
    assert run.returncode == 2 and error.strip().count("\n") == 0 and "algo.lr=ten" in error
