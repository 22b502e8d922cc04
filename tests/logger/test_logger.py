"""Loggers: what every run sends, to files, to a server on the loopback, to trackio."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
import types
from pathlib import Path
from typing import Any

import pytest
import yaml
from composed import composed
from synthetic_run import runs
from wandb_server import Loopback

from amend.logger.make import build_logger
from amend.results.analysis.run_extract import gather
from amend.results.analysis.study import study
from amend.results.run_folder.provenance import lockfile

ROOT = Path(__file__).parents[2]
SEEN = """
    import json, sys
    from pathlib import Path
    from omegaconf import OmegaConf
    from amend.logger.make import build_logger
    cfg, folder = OmegaConf.load(sys.argv[1]), Path(sys.argv[2])
    made = build_logger(cfg, folder)
    for r in (1, 2):
        made.log({"iteration": r, "accuracy_t1": 0.25 * r, "sampled_tokens": 100 * r}, r)
    made.figures({"reward": "<svg xmlns='http://www.w3.org/2000/svg'></svg>"})
    made.finish({"algo": "score", "trained": {"delta": {"mean": 0.5}}}, {"problem": ["a"], "answer": [None]})
    assert made.errors == 0
"""


def started(tmp_path: Path, name: str, environment: dict[str, str]) -> Path:
    """One logged run in a process of its own, for trackers keep state; its folder."""
    from omegaconf import OmegaConf

    folder = tmp_path / "runs" / "math" / "score" / "0123abcd-s0"
    folder.mkdir(parents=True)
    versions = {
        "commit": "c0ffee",
        "lockfile": lockfile(),
        "python": "3.11",
        "command": "python run.py",
        "packages": {},
    }
    (folder / "versions.json").write_text(json.dumps(versions))
    OmegaConf.save(composed(f"runs_dir={tmp_path / 'runs'}", f"logger={name}"), tmp_path / "cfg.yaml", resolve=True)
    own = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
    said = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SEEN), str(tmp_path / "cfg.yaml"), str(folder)],
        capture_output=True, text=True, env={**own, **environment}, timeout=120, cwd=tmp_path,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    return folder


def test_a_run_online_says_everything_to_the_real_client(tmp_path: Path) -> None:
    """Metrics, transcripts, figures, configuration, commit and lockfile: as the client streams them."""
    with Loopback() as server:
        folder = started(tmp_path, "wandb_online", server.environment)
        run = (folder / ".wandb-id").read_text()
        history, summary = server.history(run), server.summary(run)
    assert [row.get("accuracy_t1") for row in history[:2]] == [0.25, 0.5]
    assert summary["trained"]["delta"]["mean"] == 0.5  # what a sweep's metric names
    assert any(row.get("episodes", {}).get("_type") == "table-file" for row in history)
    assert any("figures/reward" in row for row in history)
    told = json.loads(server.variables["UpsertBucket"][0]["config"])
    assert told["algo"]["value"]["name"] == "score"
    assert told["versions"]["value"]["commit"] == "c0ffee" and told["versions"]["value"]["lockfile"] == lockfile()
    sent = [name.removeprefix(f"{run}/") for name in server.uploads]
    assert any(name.startswith("media/table/episodes") for name in sent)
    assert any(name.startswith("media/html/figures/reward") for name in sent)


def test_sweep_and_agent_start_the_command_lines_that_the_local_runner_starts(tmp_path: Path) -> None:
    """The real ``wandb sweep`` and ``wandb agent`` on one of our files; the runs only say what they were given."""
    from amend.sweep.command import command_line
    from amend.sweep.search import grid
    from amend.sweep.spec import read_sweep

    path = ROOT / "sweeps" / "score_methods.yaml"
    given = [*grid(read_sweep(path))[:1], grid(read_sweep(path))[-1]]
    shutil.copy(path, tmp_path / path.name)
    (tmp_path / "run.py").write_text("import json, sys; print(json.dumps(sys.argv[1:]), file=open('said', 'a'))")
    wandb = str(Path(sys.executable).with_name("wandb"))
    with Loopback(given) as server:
        environment = {
            **os.environ, **server.environment,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        }  # fmt: skip
        for words in (["sweep", "--entity", "me", "--project", "p", path.name], ["agent", "me/p/sw1"]):
            said = subprocess.run(
                [wandb, *words], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=180
            )
            assert said.returncode == 0, said.stderr
        told = yaml.safe_load(server.variables["UpsertSweep"][0]["config"])
    assert told["parameters"] == yaml.safe_load(path.read_text())["parameters"]
    lines = [json.loads(line) for line in (tmp_path / "said").read_text().splitlines()]
    assert lines == [command_line(read_sweep(path), one)[3:] for one in given]


def test_a_report_is_published_by_the_real_client(tmp_path: Path) -> None:
    pytest.importorskip("wandb_workspaces", reason="no wandb-workspaces; enable with: make install-dev")
    made = study(folders := runs(tmp_path / "runs" / "math", 1, 1), gather(folders))
    code = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from amend.results.run_folder.reader import run_folders
        from amend.results.analysis.run_extract import gather
        from amend.results.analysis.study import study
        from amend.results.report.wandb_report import publish
        folders = run_folders([sys.argv[1]])
        print(publish(study(folders, gather(folders)), "me/p"))
        """
    )
    with Loopback() as server:
        said = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "runs")],
            env={**os.environ, **server.environment}, capture_output=True, text=True, timeout=120, cwd=tmp_path,
        )  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert said.stdout.startswith(server.url)
    name = next(name for name in server.variables if name.lower().startswith("upsertview"))
    assert server.variables[name][-1]["displayName"] == made.title
    assert "Learning curves" in server.variables[name][-1]["spec"]


class Recorder(types.ModuleType):
    """Stands for trackio: keeps what it is told."""

    def __init__(self) -> None:
        super().__init__("trackio")
        self.told: list[tuple[str, Any]] = []
        self.Table = lambda columns, data: {"columns": columns, "data": data}

    def init(self, **given: Any) -> None:
        self.told.append(("init", given))

    def log(self, row: dict[str, Any], step: int | None = None) -> None:
        self.told.append(("log", (row, step)))

    def finish(self) -> None:
        self.told.append(("finish", None))


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setitem(sys.modules, "trackio", recorder)
    monkeypatch.setattr("amend.config.cross_checks.is_installed", lambda name: True)
    monkeypatch.setenv("TRACKIO_DIR", "set by hand")
    return recorder


def test_trackio_is_told_the_same(recorded: Recorder, tmp_path: Path) -> None:
    cfg = composed("logger=trackio", "logger.group=g", f"runs_dir={tmp_path}")
    folder = tmp_path / "math" / "score" / "0123abcd-s0"
    made = build_logger(cfg, folder)
    made.log({"iteration": 1, "loss": 0.5}, 1)
    made.finish({"algo": "score", "trained": {"delta": {"mean": 0.25}}}, {"problem": ["a"], "answer": [None]})
    assert made.errors == 0
    (_, given), *rest = recorded.told
    assert (given["project"], given["name"], given["group"]) == ("amend", "math/score/0123abcd-s0", "g")
    assert given["config"]["algo"]["name"] == "score" and "versions" in given["config"]
    assert rest == [
        ("log", ({"iteration": 1, "loss": 0.5}, 1)),
        ("log", ({"episodes": {"columns": ["problem", "answer"], "data": [["a", None]]}}, None)),
        ("log", ({"summary/trained.delta.mean": 0.25}, None)),
        ("finish", None),
    ]


def test_trackio_itself_keeps_a_run(tmp_path: Path) -> None:
    pytest.importorskip("trackio", reason="no trackio; enable with: pip install trackio")
    started(tmp_path, "trackio", {"HOME": str(tmp_path)})
    assert (tmp_path / "runs" / ".trackio" / "amend.db").stat().st_size > 0


def test_lockfile_is_the_hash_of_the_versions_that_were_tested() -> None:
    import hashlib

    assert lockfile() == hashlib.sha256((ROOT / "constraints.txt").read_bytes()).hexdigest()
