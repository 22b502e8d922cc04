"""The one command for Hydra's launchers is split by Hydra's own sweeper into the very runs of the file."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser

from amend.errors import UserError
from amend.sweep.command import command_line, overrides
from amend.sweep.hydra_multirun import multirun
from amend.sweep.search import grid
from amend.sweep.spec import read_sweep

ROOT = Path(__file__).parents[2]
SWEEPS = [p for p in sorted((ROOT / "sweeps").glob("*.yaml")) if "method:" in p.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_hydra_makes_the_same_runs(path: Path) -> None:
    sweep = read_sweep(path)
    python, program, many, *words = shlex.split(multirun(sweep, "", []))
    assert (python, program, many) == ("python", "run.py", "-m")
    parsed = OverridesParser.create().parse_overrides(words)
    theirs = [sorted(run) for batch in BasicSweeper.split_arguments(parsed, None) for run in batch]
    ours = [sorted(overrides(sweep, command_line(sweep, parameters))) for parameters in grid(sweep)]
    assert sorted(theirs) == sorted([sorted(map(spelt, run)) for run in ours])


def spelt(word: str) -> str:
    """As Hydra writes a word back."""
    (override,) = OverridesParser.create().parse_overrides([word])
    key = override.get_key_element()
    return f"{key}={override.get_value_element_as_str()}"


def test_ranges_are_for_hydras_optuna_sweeper(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(
        "method: random\nprogram: run.py\nparameters:\n"
        "  algo.lr: {distribution: log_uniform_values, min: 1.0e-5, max: 1.0e-3}\n"
        "  seed: {min: 0, max: 9}\n  algo: {values: [grpo, rloo]}\n"
        'command: ["${program}", "${args_no_hyphens}"]\n',
        encoding="utf-8",
    )
    line = multirun(read_sweep(path), "", [])
    assert "hydra/sweeper=optuna" in line and "tag(log,interval(1e-05,0.001))" in line
    for override in OverridesParser.create().parse_overrides(shlex.split(line)[4:]):
        assert override.is_sweep_override()
    path.write_text(path.read_text(encoding="utf-8").replace("log_uniform_values", "q_uniform"), encoding="utf-8")
    with pytest.raises(UserError, match="no distribution=q_uniform"):
        multirun(read_sweep(path), "", [])
