"""What a run begins with, who learns from it, and what is measured beside: init, student,
eval.shared_first_attempts, orm.train_if_missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from composed import composed

from amend.components import Components, build, build_components
from amend.errors import UserError
from amend.evaluation.suite import run_suite
from amend.job.train import run
from amend.job.train_orm import count_orm_sampled_tokens, train_missing_orm
from amend.results.analysis.run_metrics import measured
from amend.results.report.terminal.live_view import View
from amend.results.run_folder.folder import RunFolder
from amend.results.run_folder.reader import read_run

SMALL = ("scale=smoke", "debug=fast", "logger=none", "trainer.threads=1")
SFT = ("init=sft", "init.problems=64", "init.num_minibatches=2", "init.lr=0.01")


def weights(made: Components, *, reference: bool = False) -> torch.Tensor:
    model = made.policy.reference_lm if reference else made.policy.lm
    assert model is not None
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def begun(folder: RunFolder, *words: str) -> Components:
    cfg = composed(*SMALL, *words)
    made = build_components(cfg)
    build(cfg.init)(made, folder, cfg.seed, cfg.algo.max_tokens)
    return made


def test_sft_first_makes_the_base_model_and_a_resumed_run_reads_it(tmp_path: Path) -> None:
    cfg = composed(*SMALL, *SFT, f"runs_dir={tmp_path}")
    before = weights(build_components(cfg))
    with RunFolder.create(cfg) as folder:
        first = begun(folder, *SFT, f"runs_dir={tmp_path}")
        assert not torch.equal(weights(first), before), "nothing was learnt"
        assert torch.equal(weights(first), weights(first, reference=True)), "what it begins with is what it is held to"
        kept = (folder.path / "checkpoints" / "init.pt").stat().st_mtime_ns
        again = begun(folder, *SFT, f"runs_dir={tmp_path}")
        assert torch.equal(weights(again), weights(first)) and torch.equal(
            weights(again, reference=True), weights(first)
        )
        assert (folder.path / "checkpoints" / "init.pt").stat().st_mtime_ns == kept
    with RunFolder.create(cfg) as another:
        longer = begun(another, *SFT, "init.update_epochs=4", f"runs_dir={tmp_path}")
        assert not torch.equal(weights(longer), weights(first)), "init.update_epochs does nothing"
    with RunFolder.create(cfg) as third:
        assert torch.equal(weights(begun(third, f"runs_dir={tmp_path}")), before), "pretrained is left alone"


def test_a_student_learns_from_what_was_generated(tmp_path: Path) -> None:
    words = (
        "algo=untrained",
        "dialogue=single",
        "distillation=sft",
        "distillation.problems=24",
        "distillation.num_minibatches=2",
    )
    cfg = composed(*SMALL, *words, "distillation.lr=0.01", f"runs_dir={tmp_path}", "eval.pass_at_k_problems=8")
    assert run(cfg) == 0
    (folder,) = tmp_path.glob("math/untrained/*")
    recorded = read_run(folder)
    phases = set(zip(recorded.episodes["phase"], recorded.episodes["decoding"], strict=True))
    assert {("student", "greedy"), ("student", "wide"), ("generated", "wide")} <= phases
    found = measured(recorded).values
    assert {"generated.unique_per_reply", "generated.right_per_1000_tokens"} <= found.keys()
    assert found["generated.mean"].shape == (8,) and found["student.acc_t1"].shape == found["acc_t1"].shape
    told = json.loads((folder / "student.json").read_text())
    assert told["episodes"] == 24 * composed(*SMALL, *words).distillation.group_size
    rows = [json.loads(line) for line in (folder / "data" / "student.jsonl").read_text().splitlines()]
    assert told["imitated"] == len(rows) > 0 and told["sampled_tokens"] > 0
    assert all([m["role"] for m in row["completion"]] == ["assistant"] for row in rows)
    texts = {
        phase: [t for p, t in zip(recorded.episodes["phase"], recorded.episodes["text"], strict=True) if p == phase]
        for phase in ("trained", "student")
    }
    assert texts["trained"] != texts["student"], "the student says what the untrained model says"


def test_fixed_first_attempts_are_the_base_models(tmp_path: Path) -> None:
    cfg = composed(*SMALL, "eval.shared_first_attempts=true", f"runs_dir={tmp_path}")
    made = build_components(cfg)
    said = run_suite(cfg, made, "base", View(total_iterations=0), made.runner)[0]

    def first(columns: dict[str, list[object]], decoding: str) -> list[object]:
        rows = zip(columns["decoding"], columns["turn"], columns["text"], strict=True)
        return [text for d, turn, text in rows if (d, turn) == (decoding, 1)]

    assert first(said, "greedy") == first(said, "fixed")
    with torch.no_grad():
        for parameter in made.policy.lm.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    made.runner.sync_weights()
    moved = run_suite(cfg, made, "trained", View(total_iterations=0), made.runner)[0]
    assert first(moved, "greedy") != first(said, "greedy") and first(moved, "fixed") == first(said, "fixed")


def test_the_outcome_model_is_made_once_and_ranks_wide_attempts(tmp_path: Path) -> None:
    rank = f"eval.reranker={tmp_path}/orm"
    words = (rank, "orm.train_if_missing=true", "orm.problems=48", "orm.epochs=1", f"runs_dir={tmp_path}")
    train_missing_orm(composed(*SMALL, *words[1:]))
    assert not (tmp_path / "orm").exists(), "nothing needs it"
    cfg = composed(*SMALL, *words)
    train_missing_orm(cfg)
    made_at = (tmp_path / "orm" / "orm.json").stat().st_mtime_ns
    train_missing_orm(cfg)
    assert (tmp_path / "orm" / "orm.json").stat().st_mtime_ns == made_at
    replies = 2 * cfg.orm.samples * cfg.orm.problems  # two turns of each conversation
    assert replies <= count_orm_sampled_tokens(cfg) <= replies * cfg.algo.max_tokens
    assert count_orm_sampled_tokens(composed(*SMALL)) == 0
    made = build_components(cfg)
    said = run_suite(cfg, made, "base", View(total_iterations=0), made.runner)[0]
    assert all(0 <= score <= 1 for score in said["score"]) and len(set(said["score"])) > 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("job=evaluate", "init=sft"), "init=sft: job=evaluate trains nothing"),
        (("job=evaluate", "distillation=sft"), "distillation=sft: job=evaluate trains nothing"),
        (("dialogue=single", "algo=grpo", "eval.shared_first_attempts=true"), "the dialogue has no second attempt"),
        (("trainer=ddp", "init=sft"), "this training needs one process"),
    ],
)
def test_what_would_do_nothing_is_refused(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(UserError, match=said):
        composed(*words)


def test_sorm_brings_its_own_outcome_model() -> None:
    cfg = composed("algo=ppo", "dialogue=single", "reward=sorm", "orm.train_if_missing=true")
    assert (cfg.orm.kind, cfg.orm.path, cfg.reward.orm.path) == ("step", "runs/sorm", "runs/sorm")
    cfg = composed("algo=ppo", "dialogue=single", "reward=orm_dense", "orm.train_if_missing=true")
    assert (cfg.orm.kind, cfg.reward.orm.path, cfg.reward.orm.use) == ("outcome", "runs/orm", "difference")
