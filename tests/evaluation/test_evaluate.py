"""What an evaluation says of replies that nothing was found out about."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from composed import composed

from amend.components import build_components
from amend.evaluation.evaluate import unsettled
from amend.evaluation.suite import run_suite
from amend.job import grade
from amend.results.report.terminal.live_view import View
from amend.types import Verdict


def test_replies_without_a_verdict_are_counted_by_reason() -> None:
    assert unsettled({"why": ["right", "wrong", "no answer", "error"]}) == ""
    assert unsettled({"why": ["right", "untested", "timeout", "timeout"]}) == (
        "3 of 4 replies count as wrong, but the grader did not find them wrong: timeout 2, untested 1"
    )


def test_the_user_is_told_after_each_evaluation(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg = composed("scale=smoke", "eval.problems=2", "eval.samples=0", "eval.pass_at_k_samples=0", "trainer.threads=1")
    made = build_components(cfg)
    monkeypatch.setattr(made.task, "grade_many", lambda pairs: [Verdict("x", False, "timeout") for _ in pairs])
    run_suite(cfg, made, "base", View(total_iterations=0), made.runner)
    assert (
        "note: 4 of 4 replies count as wrong, but the grader did not find them wrong: timeout 4"
        in capsys.readouterr().out
    )


def test_grading_a_file_ends_with_its_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"problem": "1 + 1?", "answer": "2", "reply": reply}
        for reply in ("\\boxed{2}", "\\boxed{3}", "\\boxed{3}", "?")
    ]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = (f"responses={tmp_path / 'in.jsonl'}", f"verdicts={tmp_path / 'out.jsonl'}")
    assert grade.run(composed("job=grade", *words)) == 0
    assert capsys.readouterr().out == f"verdicts: {tmp_path / 'out.jsonl'} (wrong 2, right 1, no answer 1)\n"
