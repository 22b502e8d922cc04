"""What the keeper decides by itself: which weights are the best, when to speak, when to save."""

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
from amend.training.callbacks import WARN_GAP, Keeper

LIMITS = AlertThresholds(
    window=10, clip_ratio=0.2, frac_reward_zero_std=0.8, entropy=0.3, kl=10.0, unedited=0.9, sampling_efficiency_gap=0.4
)


class Said(View):
    """A view that remembers what it was told, and shows nothing."""

    def __init__(self) -> None:
        super().__init__(total_rounds=8)
        self.notes: list[str] = []

    def round(self, metrics: Any, timing: Any) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)


def keeper(tmp_path: Path, every: int = 2) -> tuple[Keeper, Said]:
    folder = RunFolder.create(composed(f"runs_dir={tmp_path}", "logger=none"))
    score = CompositeReward({"oracle": Oracle(Identity(symbols=2, test=2), weight=1.0)}, max_failures=0.0)
    view = Said()
    return Keeper(folder, view, Logger(folder.path, {}), score, every, LIMITS), view


def learner(rounds: int = 8) -> SCoRe:
    return SCoRe(*handed(policy()), **{**LOOP, **SCORE, "num_iterations": rounds, "stage1_iterations": 2})


def trainer(path: list[int]) -> Any:
    """A trainer whose checkpoints are one byte, or an error."""

    def save(beside: Path) -> None:
        Path(beside).write_bytes(b"x")
        path.append(1)

    made = create_autospec(pl.Trainer, instance=True)
    made.save_checkpoint = save
    return made


def play(kept: Keeper, made: SCoRe, train: Any, rewards: list[tuple[float, float]], stop: str = "end") -> None:
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
    made.round += 1
    made.record = {"iteration": made.round, "stage": stage}
    with torch.no_grad():
        next(made.policy.lm.parameters()).fill_(made.round)
    kept.on_train_batch_end(train, made, None, None, 0)


def test_the_best_is_the_highest_mean_reward_of_a_window_of_the_final_stage(tmp_path: Path) -> None:
    """Windows of two rounds: Stage I (high, not counted), then 0.5, 0.75, 0.25. The weights of round 6 are kept."""
    kept, _ = keeper(tmp_path)
    made, train = learner(), trainer([])
    for reward in (1, 1, 0, 1, 1, 0.5, 0.5, 0):
        play(kept, made, train, [(0, reward), (0, reward)])
    best = torch.load(kept.best, weights_only=True)
    assert float(next(iter(best.values())).flatten()[0]) == 6


def test_what_the_choice_needs_survives_a_checkpoint(tmp_path: Path) -> None:
    kept, _ = keeper(tmp_path, every=3)
    made, train = learner(), trainer([])
    for reward in (0, 0, 1, 1):
        play(kept, made, train, [(0, reward)])
    state = kept.state_dict()
    other, _ = keeper(tmp_path / "other", every=3)
    other.load_state_dict(state)
    assert other.state_dict() == state and state["window"] == [1.0, 1.0]


def test_it_saves_every_so_often_and_at_the_end(tmp_path: Path) -> None:
    kept, _ = keeper(tmp_path, every=3)
    saved: list[int] = []
    made, train = learner(), trainer(saved)
    counts = []
    for _ in range(8):
        play(kept, made, train, [(0, 0)])
        counts.append(len(saved))
    assert counts == [0, 0, 1, 1, 1, 2, 2, 3]


def test_truncation_and_groups_that_teach_nothing_are_said_once(tmp_path: Path) -> None:
    kept, view = keeper(tmp_path)
    made, train = learner(), trainer([])
    for _ in range(3):
        play(kept, made, train, [(0, 0), (0, 0)], stop="length")
    assert len(view.notes) == 2
    assert "100% of replies are cut" in view.notes[0] and "algo.max_tokens" in view.notes[0]
    assert "teach nothing" in view.notes[1] and "algo.group_size" in view.notes[1]


def test_a_healthy_round_says_nothing(tmp_path: Path) -> None:
    kept, view = keeper(tmp_path)
    play(kept, learner(), trainer([]), [(0, 1), (1, 0)])
    assert view.notes == []


@pytest.mark.parametrize("error", [RuntimeError("PytorchStreamWriter failed"), OSError(28, "No space left on device")])
def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(tmp_path: Path, error: Exception) -> None:
    kept, _ = keeper(tmp_path)
    made, train = learner(), trainer([])
    kept.save(train, made)

    def fail(beside: Path) -> None:
        Path(beside).write_bytes(b"half")
        raise error

    train.save_checkpoint = fail
    with pytest.raises(UserError, match="disk is full"):
        kept.save(train, made)
    assert kept.last.read_bytes() == b"x"
    assert [path.name for path in kept.last.parent.iterdir()] == ["last.ckpt"]


def test_a_sampler_that_draws_from_another_policy_is_spoken_of_once(tmp_path: Path) -> None:
    """Only where a learner's replies are its own: what is imitated was never drawn from these weights."""
    for online, notes in ((True, 1), (False, 0)):
        kept, view = keeper(tmp_path / str(online))
        with kept.folder:
            for gap in (WARN_GAP / 2, 2 * WARN_GAP, 3 * WARN_GAP):
                kept._warn(
                    {"response_length/clip_ratio": 0.0, "frac_reward_zero_std": 0.0, "sampling/logp_difference": gap},
                    online,
                )
        assert len(view.notes) == notes
        assert not notes or f"{2 * WARN_GAP:.2f} nats" in view.notes[0]
