"""The W&B Report: built from the study with every socket blocked."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from typing import Any

import pytest
from synthetic_run import finished, runs

from amend.results.analysis.run_extract import gather
from amend.results.analysis.study import Study, study
from amend.results.report.charts.export import export_charts, slug
from amend.results.report.export import figure_table as drawn_as_table
from amend.results.report.wandb_report import CHARTS, as_workspace, publish
from amend.results.run_folder.reader import read_run

pytest.importorskip("wandb_workspaces", reason="no wandb-workspaces; enable with: make install-dev")


@pytest.fixture
def made(tmp_path: Path) -> Study:
    folders = runs(tmp_path / "runs" / "math", 2, 2)
    return study(folders, gather(folders))


def told(value: Any) -> str:
    """All text of the report's Markdown blocks."""
    return "\n".join(block.get("content", "") for block in value["spec"]["blocks"])


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **more: Any) -> None:
        raise AssertionError("asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.usefixtures("no_network")
def test_the_report_is_built_without_a_network_and_says_what_the_study_says(made: Study) -> None:
    value = json.loads(as_workspace(made))
    text = json.dumps(value, ensure_ascii=False)
    assert value["title"] == made.title
    for sheet in made.sheets:
        assert sheet.title in text and all(column.label in text for column in sheet.columns)
    cell = next(c for s in made.sheets if s.key == "greedy" for r in s.rows if r.group == 1 for c in r.cells if c)
    assert f"{100 * cell.mean:.1f} [{100 * cell.low:.1f}, {100 * cell.high:.1f}]" in text
    grids = [block for block in value["spec"]["blocks"] if block["type"] == "panel-grid"]
    assert [runset["name"] for runset in grids[0]["metadata"]["runSets"]] == ["algo0", "algo1"]
    plots = [p["config"] for p in grids[0]["metadata"]["panelBankSectionConfig"]["panels"] if "config" in p]
    drawn = {name for plot in plots for name in plot.get("metrics", [])}
    assert {f.key.removeprefix("training_") for f in made.figures if f.kind == "curve"} <= drawn
    assert {"trained.acc_t2.mean", "trained.delta.mean"} <= drawn
    others = [figure for figure in made.figures if figure.kind != "curve" and figure.series]
    assert {"edits", "profile"} <= {figure.key for figure in others}
    assert all(figure.title in text and drawn_as_table(made, figure) in told(value) for figure in others)
    for folder in made.groups[1].folders:  # runs are found by the name that our W&B runs have
        assert "/".join(Path(folder).parts[-3:]) in text


def test_the_charts_that_it_shows_are_those_that_a_run_logs(made: Study, tmp_path: Path) -> None:
    logged = export_charts(read_run(runs(tmp_path / "one", 1, 1)[0]))
    assert {slug(name) for name in CHARTS} <= logged.keys()
    assert all(f"figures/{slug(name)}" in as_workspace(made) for name in CHARTS)


@pytest.mark.usefixtures("no_network")
def test_pass_at_every_k_is_told_with_its_intervals(tmp_path: Path) -> None:
    """Three of four replies to one of two problems are right: pass@1 = 37.5 %, pass@2 = 50 %."""
    replies = [["1+1 ok", "1+1 ok", "2*1 ok", "no"], ["no", "no", "no", "no"]]
    folder = finished(tmp_path / "a" / "0123abcd-s0", "a", 0, [True, False], [False, True], replies)
    text = told(json.loads(as_workspace(study([folder], gather([folder])))))
    assert "| k | 1 | 2 | 4 |" in text and re.search(r"\| a \| 37\.5 \[.*\] \| 50\.0 \[", text)


@pytest.mark.usefixtures("no_network")
def test_it_reads_back_as_a_report(made: Study) -> None:
    """The client's own reader accepts what was built."""
    import wandb_workspaces.reports.v2.internal as internal

    spec = json.loads(as_workspace(made))["spec"]
    again = internal.Spec.model_validate(spec)
    assert len(again.blocks) == len(spec["blocks"]) > 10


def test_a_refused_publication_is_one_line(made: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb_workspaces.reports.v2 as wr

    from amend.errors import UserError

    def refuse(self: Any) -> None:
        raise ValueError("no\nsuch project")

    monkeypatch.setattr(wr.Report, "save", refuse)
    with pytest.raises(UserError, match=r"publish=me/p: not published: ValueError: no such project; .*wandb login"):
        publish(made, "me/p")
