"""What the callbacks of a run decide: which weights are the best, when to warn, when to save."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest
import pytorch_lightning as pl
import torch
from composed import composed
from toys import LOOP, SCORE, episode, handed, policy, scored

from amend.algo.score import SCoRe
from amend.errors import UserError
from amend.logger.base import Logger
from amend.results.report.terminal.live_view import View
from amend.results.run_folder.folder import RunFolder
from amend.reward import CompositeReward
from amend.reward.oracle import Oracle
from amend.task.identity import Identity
from amend.training.alerts import AlertThresholds
from amend.training.callbacks import WARN_LOGP_DIFFERENCE, RunCallbacks, build_callbacks

LIMITS = AlertThresholds(
    window=10, clip_ratio=0.2, frac_reward_zero_std=0.8, entropy=0.3, kl=10.0, unedited=0.9, sampling_efficiency_gap=0.4
)


class Said(View):
    """A view that remembers what it was told, and shows nothing."""

    def __init__(self) -> None:
        super().__init__(total_iterations=8)
        self.notes: list[str] = []

    def log_iteration(self, metrics: Any, timing: Any) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)


def callbacks(tmp_path: Path, every: int = 2) -> tuple[RunCallbacks, Said]:
    folder = RunFolder.create(composed(f"runs_dir={tmp_path}", "logger=none"))
    reward = CompositeReward({"oracle": Oracle(Identity(symbols=2, test=2), weight=1.0)}, max_failures=0.0)
    view = Said()
    return build_callbacks(folder, view, Logger(folder.path, {}), reward, every, LIMITS), view


def learner(rounds: int = 8) -> SCoRe:
    return SCoRe(*handed(policy()), **{**LOOP, **SCORE, "num_iterations": rounds, "stage1_iterations": 2})


def trainer(path: list[int]) -> Any:
    """A trainer whose checkpoints are one byte, or an error."""

    def save(beside: Path) -> None:
        Path(beside).write_bytes(b"x")
        path.append(1)

    made = create_autospec(pl.Trainer, instance=True)
    made.save_checkpoint, made.should_stop = save, False
    return made


def play(kept: RunCallbacks, made: SCoRe, train: Any, rewards: list[tuple[float, float]], stop: str = "end") -> None:
    """One round whose episodes were paid ``rewards``."""
    from dataclasses import replace

    episodes = []
    for i, reward in enumerate(rewards):
        e = episode([([5], [6]), ([2], [4])], sample=i)
        turns = tuple(replace(t, reply=replace(t.reply, stop=stop)) for t in e.turns)
        episodes.append(scored(replace(e, turns=turns), reward))
    made.scored = episodes
    stage = made.stage
    made.was_final_stage = made.is_final_stage()
    made.iteration += 1
    made.record = {"iteration": made.iteration, "stage": stage}
    with torch.no_grad():
        next(made.policy.lm.parameters()).fill_(made.iteration)
    for callback in kept:
        callback.on_train_batch_end(train, made, None, None, 0)


def test_the_best_is_the_highest_mean_reward_of_a_window_of_the_final_stage(tmp_path: Path) -> None:
    """Windows of two rounds: Stage I (high, not counted), then 0.5, 0.75, 0.25. The weights of round 6 are kept."""
    kept, _ = callbacks(tmp_path)
    made, train = learner(), trainer([])
    for reward in (1, 1, 0, 1, 1, 0.5, 0.5, 0):
        play(kept, made, train, [(0, reward), (0, reward)])
    best = torch.load(kept.best.path, weights_only=True)
    assert float(next(iter(best.values())).flatten()[0]) == 6


def test_what_the_choice_needs_survives_a_checkpoint(tmp_path: Path) -> None:
    kept, _ = callbacks(tmp_path, every=3)
    made, train = learner(), trainer([])
    for reward in (0, 0, 1, 1):
        play(kept, made, train, [(0, reward)])
    state = kept.best.state_dict()
    other, _ = callbacks(tmp_path / "other", every=3)
    other.best.load_state_dict(state)
    assert other.best.state_dict() == state and state["window"] == [1.0, 1.0]


def test_it_saves_every_so_often_and_at_the_end(tmp_path: Path) -> None:
    kept, _ = callbacks(tmp_path, every=3)
    saved: list[int] = []
    made, train = learner(), trainer(saved)
    counts = []
    for _ in range(8):
        play(kept, made, train, [(0, 0)])
        counts.append(len(saved))
    assert counts == [0, 0, 1, 1, 1, 2, 2, 3]


def test_truncation_and_groups_that_teach_nothing_are_said_once(tmp_path: Path) -> None:
    kept, view = callbacks(tmp_path)
    made, train = learner(), trainer([])
    for _ in range(3):
        play(kept, made, train, [(0, 0), (0, 0)], stop="length")
    assert len(view.notes) == 2
    assert "100% of replies are cut" in view.notes[0] and "algo.max_tokens" in view.notes[0]
    assert "teach nothing" in view.notes[1] and "algo.group_size" in view.notes[1]


def test_a_healthy_round_says_nothing(tmp_path: Path) -> None:
    kept, view = callbacks(tmp_path)
    play(kept, learner(), trainer([]), [(0, 1), (1, 0)])
    assert view.notes == []


@pytest.mark.parametrize("error", [RuntimeError("PytorchStreamWriter failed"), OSError(28, "No space left on device")])
def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(tmp_path: Path, error: Exception) -> None:
    kept, _ = callbacks(tmp_path)
    train = trainer([])
    kept.checkpoint.save(train)

    def fail(beside: Path) -> None:
        Path(beside).write_bytes(b"half")
        raise error

    train.save_checkpoint = fail
    with pytest.raises(UserError, match="disk is full"):
        kept.checkpoint.save(train)
    assert kept.checkpoint.path.read_bytes() == b"x"
    assert [path.name for path in kept.checkpoint.path.parent.iterdir()] == ["last.ckpt"]


def test_an_engine_that_samples_from_another_policy_is_reported_once(tmp_path: Path) -> None:
    """Only for an algorithm that samples from its own policy: what is imitated was sampled from another one."""
    for online, notes in ((True, 1), (False, 0)):
        kept, view = callbacks(tmp_path / str(online))
        made, train = learner(), trainer([])
        made.online = online
        for difference in (WARN_LOGP_DIFFERENCE / 2, 2 * WARN_LOGP_DIFFERENCE, 3 * WARN_LOGP_DIFFERENCE):
            kept.metrics.row = {"sampling/logp_difference": difference}
            kept.alerts.on_train_batch_end(train, made, None, None, 0)
        assert len(view.notes) == notes
        assert not notes or f"{2 * WARN_LOGP_DIFFERENCE:.2f} nats" in view.notes[0]


def test_lightning_keeps_the_order_of_the_callbacks(tmp_path: Path) -> None:
    """Metrics before alerts and best weights, the stop before what is saved, the checkpoint last."""
    kept, _ = callbacks(tmp_path)
    made = pl.Trainer(callbacks=list(kept), logger=False, enable_progress_bar=False, enable_checkpointing=False)
    mine = [callback for callback in made.callbacks if callback in list(kept)]
    assert mine == list(kept) and RunCallbacks._fields == ("metrics", "data", "alerts", "stop", "best", "checkpoint")
