"""What a run begins with, who learns from it, and what is measured beside: init, student, eval.fixed, orm.make."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from amend.build import House, find, house, knobs
from amend.errors import UserError
from amend.lesson import sampled_for_orms
from amend.report.files import read_run
from amend.report.terminal import View
from amend.run_folder import RunFolder
from amend.sweep.figures import measured
from amend.train import make_orm, measure_all, train
from composed import composed

SMALL = ("scale=smoke", "debug=fast", "logger=none", "trainer.threads=1")
SFT = ("init=sft", "init.problems=64", "init.updates=2", "init.lr=0.01")


def weights(made: House, *, reference: bool = False) -> torch.Tensor:
    model = made.policy.reference_lm if reference else made.policy.lm
    assert model is not None
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def begun(folder: RunFolder, *words: str) -> House:
    cfg = composed(*SMALL, *words)
    made = house(cfg)
    find("init", cfg.init.name)(**knobs(cfg.init))(made, folder, cfg.seed, cfg.algo.max_tokens)
    return made


def test_sft_first_makes_the_base_model_and_a_resumed_run_reads_it(tmp_path: Path) -> None:
    cfg = composed(*SMALL, *SFT, f"runs_dir={tmp_path}")
    before = weights(house(cfg))
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
        longer = begun(another, *SFT, "init.epochs=4", f"runs_dir={tmp_path}")
        assert not torch.equal(weights(longer), weights(first)), "init.epochs does nothing"
    with RunFolder.create(cfg) as third:
        assert torch.equal(weights(begun(third, f"runs_dir={tmp_path}")), before), "pretrained is left alone"


def test_a_student_learns_from_what_was_generated(tmp_path: Path) -> None:
    words = ("algo=untrained", "dialogue=single", "student=imitate", "student.problems=24", "student.updates=2")
    cfg = composed(*SMALL, *words, "student.lr=0.01", f"runs_dir={tmp_path}", "eval.wide_problems=8")
    assert train(cfg) == 0
    (folder,) = tmp_path.glob("math/untrained/*")
    run = read_run(folder)
    phases = set(zip(run.episodes["phase"], run.episodes["decoding"], strict=True))
    assert {("student", "greedy"), ("student", "wide"), ("generated", "wide")} <= phases
    found = measured(run).values
    assert {"generated.unique_per_reply", "generated.right_per_1000_tokens"} <= found.keys()
    assert found["generated.mean"].shape == (8,) and found["student.acc_t1"].shape == found["acc_t1"].shape
    told = json.loads((folder / "student.json").read_text())
    assert told["episodes"] == 24 * composed(*SMALL, *words).student.samples
    rows = [json.loads(line) for line in (folder / "data" / "student.jsonl").read_text().splitlines()]
    assert told["imitated"] == len(rows) > 0 and told["sampled_tokens"] > 0
    assert all([m["role"] for m in row["completion"]] == ["assistant"] for row in rows)
    texts = {
        phase: [t for p, t in zip(run.episodes["phase"], run.episodes["text"], strict=True) if p == phase]
        for phase in ("trained", "student")
    }
    assert texts["trained"] != texts["student"], "the student says what the untrained model says"


def test_fixed_first_attempts_are_the_base_models(tmp_path: Path) -> None:
    cfg = composed(*SMALL, "eval.fixed=true", f"runs_dir={tmp_path}")
    made = house(cfg)
    said = measure_all(cfg, made, "base", View(total_rounds=0), made.play)[0]

    def first(columns: dict[str, list[object]], decoding: str) -> list[object]:
        rows = zip(columns["decoding"], columns["turn"], columns["text"], strict=True)
        return [text for d, turn, text in rows if (d, turn) == (decoding, 1)]

    assert first(said, "greedy") == first(said, "fixed")
    with torch.no_grad():
        for parameter in made.policy.lm.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    made.play.sync()
    moved = measure_all(cfg, made, "trained", View(total_rounds=0), made.play)[0]
    assert first(moved, "greedy") != first(said, "greedy") and first(moved, "fixed") == first(said, "fixed")


def test_the_outcome_model_is_made_once_and_ranks_wide_attempts(tmp_path: Path) -> None:
    rank = f"eval.ranker={tmp_path}/orm"
    words = (rank, "orm.make=true", "orm.problems=48", "orm.epochs=1", f"runs_dir={tmp_path}")
    make_orm(composed(*SMALL, *words[1:]))
    assert not (tmp_path / "orm").exists(), "nothing needs it"
    cfg = composed(*SMALL, *words)
    make_orm(cfg)
    made_at = (tmp_path / "orm" / "orm.json").stat().st_mtime_ns
    make_orm(cfg)
    assert (tmp_path / "orm" / "orm.json").stat().st_mtime_ns == made_at
    replies = 2 * cfg.orm.samples * cfg.orm.problems  # two turns of each conversation
    assert replies <= sampled_for_orms(cfg) <= replies * cfg.algo.max_tokens
    assert sampled_for_orms(composed(*SMALL)) == 0
    made = house(cfg)
    said = measure_all(cfg, made, "base", View(total_rounds=0), made.play)[0]
    assert all(0 <= score <= 1 for score in said["score"]) and len(set(said["score"])) > 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("job=evaluate", "init=sft"), "init=sft: job=evaluate trains nothing"),
        (("job=evaluate", "student=imitate"), "student=imitate: job=evaluate trains nothing"),
        (("dialogue=single", "algo=grpo", "eval.fixed=true"), "no second attempt to measure"),
        (("trainer=ddp", "init=sft"), "is taught in one process"),
    ],
)
def test_what_would_do_nothing_is_refused(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(UserError, match=said):
        composed(*words)


def test_sorm_brings_its_own_outcome_model() -> None:
    cfg = composed("algo=ppo", "dialogue=single", "reward=sorm", "orm.make=true")
    assert (cfg.orm.kind, cfg.orm.path, cfg.reward.orm.path) == ("step", "runs/sorm", "runs/sorm")
    cfg = composed("algo=ppo", "dialogue=single", "reward=orm_dense", "orm.make=true")
    assert (cfg.orm.kind, cfg.reward.orm.path, cfg.reward.orm.use) == ("outcome", "runs/orm", "difference")
