"""The same words as wandb's own agent makes, and words that Hydra understands."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from wandb import wandb_agent

from amend.errors import UserError
from amend.sweep.command import command_line, overrides, resized
from amend.sweep.search import grid
from amend.sweep.spec import Parameters, Sweep, read_sweep

ROOT = Path(__file__).parents[2]
SWEEPS = sorted((ROOT / "sweeps").glob("*.yaml"))
SWEEPS = [path for path in SWEEPS if "method:" in path.read_text(encoding="utf-8")]
EVERY = """
method: grid
program: run.py
parameters:
  algo.lr: {value: 1e-06}
  "on": {value: true}
  "off": {value: false}
  temperature.value: {value: [0.7, 1]}
  experiment: {value: "null"}
  dialogue.instruction: {value: "'a, b'"}
command: ["${env}", "${interpreter}", "${program}", FIRST, %s, "x=${envvar:AMEND_TEST}", "${envvar:AMEND_NOT_THERE}=1"]
"""


def agents(path: Path, parameters: Parameters, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What the real agent would start for these parameters: its own method, with the process left out."""
    made: list[list[str]] = []
    monkeypatch.setattr(wandb_agent, "AgentProcess", lambda command, **_: made.append(command) or SimpleNamespace())
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_SWEEP_ID", "sw1")
    said: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    agent = wandb_agent.Agent.__new__(wandb_agent.Agent)
    agent._sweep_command, agent._in_jupyter, agent._function = said.get("command"), False, None
    agent._forward_signals, agent._run_processes = False, {}
    args = {key: {"value": value} for key, value in parameters.items()}
    monkeypatch.setattr(wandb_agent.config_util, "save_config_file_from_dict", lambda *_: None)
    agent._command_run({"run_id": "r1", "args": args, "program": said.get("program", "run.py")})
    monkeypatch.delenv("WANDB_RUN_ID", raising=False)
    monkeypatch.delenv("WANDB_SWEEP_PARAM_PATH", raising=False)
    return made[0]


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_file_gives_the_agents_words(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    sweep = read_sweep(path)
    for parameters in grid(sweep)[::5]:
        assert command_line(sweep, parameters) == agents(path, parameters, monkeypatch, tmp_path)


@pytest.mark.parametrize(
    "macro",
    [
        "args",
        "args_no_hyphens",
        "args_no_equals",
        "args_no_boolean_flags",
        "args_json",
        "args_append_hydra",
        "args_override_hydra",
    ],
)
def test_every_macro_gives_the_agents_words(macro: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AMEND_TEST", "from outside")
    path = tmp_path / "sweep.yaml"
    path.write_text(EVERY % f'"${{{macro}}}"', encoding="utf-8")
    sweep = read_sweep(path)
    ours = command_line(sweep, grid(sweep)[0])
    assert ours == agents(path, grid(sweep)[0], monkeypatch, tmp_path)
    assert ours[:4] == ["/usr/bin/env", "python", "run.py", "FIRST"] and ours[-2] == "x=from outside"


def test_hydra_reads_the_values_that_were_meant(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(EVERY % '"${args_no_hyphens}"', encoding="utf-8")
    sweep = read_sweep(path)
    words = command_line(sweep, grid(sweep)[0])[4:-2]
    read_back = {o.key_or_group: o.value() for o in OverridesParser.create().parse_overrides(words)}
    assert read_back == {
        "algo.lr": 1e-06, "on": True, "off": False, "temperature.value": [0.7, 1], "experiment": None,
        "dialogue.instruction": "a, b",
    }  # fmt: skip


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_file_is_house_style(path: Path) -> None:
    first = path.read_text(encoding="utf-8").splitlines()
    assert first[0] == f"# python -m amend.sweep sweeps/{path.name} --jobs 2"
    assert first[1].startswith("# ") and any("Checks: " in line for line in first[:8])
    sweep = read_sweep(path)
    assert sweep.name == path.stem
    assert next(iter(sweep.parameters)) == "seed", "all of one seed before the next: half a sweep is a table already"
    assert len(sweep.parameters["seed"]["values"]) >= 3
    for parameters in grid(sweep):
        for override in OverridesParser.create().parse_overrides(overrides(sweep, command_line(sweep, parameters))):
            assert not override.is_sweep_override(), override.input_line


def test_a_scale_replaces_what_sizes_a_run() -> None:
    words = [
        "algo=score",
        "scale=sweep",
        "eval.samples=32",
        "budget.sampled_tokens=9",
        "scale.num_iterations=3",
        "seed=1",
    ]
    assert resized(words, "smoke") == ["algo=score", "seed=1", "scale=smoke"]


def sweep_of(tmp_path: Path, command: str) -> Sweep:
    path = tmp_path / "sweep.yaml"
    path.write_text(f"method: grid\nparameters: {{a: {{value: 1}}}}\ncommand: {command}\n", encoding="utf-8")
    return read_sweep(path)


def test_an_unknown_macro_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such macro; allowed: "):
        command_line(sweep_of(tmp_path, '["${program}", "${args_no_hyphen}"]'), {"a": 1})


def test_words_that_hydra_cannot_take_are_one_line(tmp_path: Path) -> None:
    sweep = sweep_of(tmp_path, '["${program}", "${args}"]')
    with pytest.raises(UserError, match="--a=1: not key=value"):
        overrides(sweep, command_line(sweep, {"a": 1}))
