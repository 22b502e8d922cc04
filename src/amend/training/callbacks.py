"""Lightning callbacks of a training run. Each has one duty, and ``RunCallbacks`` fixes their order.

``metrics.jsonl`` is flushed before each checkpoint is written. On resume, lines newer than the checkpoint are
deleted, and the resumed run reproduces them exactly. Times differ between two runs, so they go to ``timing.jsonl``.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch

from amend.algo.base import Algorithm
from amend.distributed import collectives, fsdp
from amend.logger.base import Logger
from amend.results.report.terminal.live_view import View
from amend.results.run_folder.folder import RunFolder
from amend.results.run_folder.reader import lines
from amend.reward import CompositeReward
from amend.training.alerts import AlertRules, AlertThresholds
from amend.training.round_metrics import compute_round_metrics

# Mean |log pi of the trainer - log pi of the engine| in nats. Above it, a token's probability differs by a tenth on
# average.
WARN_LOGP_DIFFERENCE = 0.1


class MetricsWriter(pl.Callback):
    """Writes one line per iteration to metrics.jsonl, timing.jsonl, the terminal view and the logger.

    Attributes:
        row: The metrics of the last iteration, which later callbacks read.
    """

    def __init__(self, folder: RunFolder, view: View, logger: Logger, reward: CompositeReward) -> None:
        self.row: dict[str, Any] = {}
        self._folder, self._view, self._logger, self._reward = folder, view, logger, reward
        self._start = time.perf_counter()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock of the first iteration."""
        self._start = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Compute the metrics of the iteration and write them."""
        assert isinstance(pl_module, Algorithm)
        row = {
            **pl_module.record,
            **compute_round_metrics(pl_module.scored),
            "reward_errors": sum(self._reward.failures.values()),
        }
        now = time.perf_counter()
        seconds, self._start = now - self._start, now
        sampled_tokens = row["response_length/mean"] * sum(len(s.episode.turns) for s in pl_module.scored)
        timing = {
            "iteration": row["iteration"],
            "seconds": seconds,
            **pl_module.timing,
            "tokens_per_second": sampled_tokens / seconds,
        }
        self._folder.append("metrics.jsonl", row)
        self._folder.append("timing.jsonl", timing)
        self._view.log_iteration(row, timing)
        times = {f"time/{name}": value for name, value in timing.items() if name != "iteration"}
        self._logger.log({**row, **times}, row["iteration"])
        self.row = row


class TrainingDataWriter(pl.Callback):
    """Writes the examples that an iteration trained on to ``data/``, one JSON object per line, in TRL's format."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write the file if the algorithm built a data set in this iteration."""
        assert isinstance(pl_module, Algorithm)
        if pl_module.data:
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in pl_module.data)
            name = f"data/{pl_module.data_name}-{pl_module.record['iteration']:04d}.jsonl"
            self._folder.write(name, lambda path: path.write_text(text, encoding="utf-8"))


class AlertCallback(pl.Callback):
    """Prints each alert when its rule is first broken, and warns once if engine and trainer disagree."""

    def __init__(self, folder: RunFolder, view: View, metrics: MetricsWriter, thresholds: AlertThresholds) -> None:
        self._folder, self._view, self._metrics = folder, view, metrics
        self._rules = AlertRules(thresholds)
        self._has_warned_of_engine = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Replay the iterations before a resume, so that no alert is printed twice."""
        for row in lines(self._folder.path / "metrics.jsonl"):
            self._rules.look(row)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Print the alerts of the iteration."""
        assert isinstance(pl_module, Algorithm)
        row = self._metrics.row
        # Imitation trains on replies of other policies, so only online algorithms are checked.
        difference = row.get("sampling/logp_difference", 0.0) if pl_module.online else 0.0
        if difference > WARN_LOGP_DIFFERENCE and not self._has_warned_of_engine:
            self._has_warned_of_engine = True
            self._view.note(
                f"the engine's log-probabilities differ from the trainer's by {difference:.2f} nats on average: the "
                f"engine samples from another policy than the trained one; check its precision and whether it receives "
                f"the weights"
            )
        for alert in self._rules.look(row):
            self._view.note(alert.text)


class GracefulStop(pl.Callback):
    """Ends the run after its last iteration, when its budget is spent, or after the iteration in which Ctrl-C is typed.

    Attributes:
        stopped: Whether Ctrl-C ended the run.
    """

    def __init__(self, view: View) -> None:
        self.stopped = False
        self._is_asked = False
        self._view = view

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Handle Ctrl-C: the first ends the run after the iteration, the second ends it at once."""
        self._previous_handler = signal.signal(signal.SIGINT, self._interrupt)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Restore the handler of Ctrl-C."""
        signal.signal(signal.SIGINT, self._previous_handler)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """Restore the handler of Ctrl-C; remember that a second Ctrl-C ended the run."""
        self.stopped = self.stopped or isinstance(exception, KeyboardInterrupt)
        signal.signal(signal.SIGINT, self._previous_handler)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Tell Lightning to stop, on all ranks in the same iteration."""
        assert isinstance(pl_module, Algorithm)
        self.stopped = self._is_asked = collectives.all_reduce_any(self._is_asked)
        if self._is_asked or pl_module.progress >= 1:  # a budget may end a run before its iterations do
            trainer.should_stop = True

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._is_asked:
            raise KeyboardInterrupt
        self._is_asked = True
        self._view.note("Ctrl-C: amend finishes and saves this iteration first; Ctrl-C again stops at once.")


class BestWeights(pl.Callback):
    """Keeps the weights with the highest mean training reward of the final stage.

    The mean is over the last turn's reward in ``checkpoint_every`` iterations. Test problems have no part in the
    choice.

    Attributes:
        path: The file of the weights, which exists once a window of the final stage has ended.
    """

    def __init__(self, folder: RunFolder, metrics: MetricsWriter, checkpoint_every: int) -> None:
        self.path = folder.path / "checkpoints" / "best.ckpt"
        self._folder, self._metrics, self._checkpoint_every = folder, metrics, checkpoint_every
        self._window: list[float] = []
        self._best_reward = float("-inf")

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Add the iteration's reward to the window; at a checkpoint, compare the window with the best one."""
        assert isinstance(pl_module, Algorithm)
        if pl_module.online and pl_module.was_final_stage:
            self._window.append(self._metrics.row[f"reward_t{pl_module.turns}"])
        is_full = len(self._window) >= self._checkpoint_every or pl_module.progress >= 1
        if not (self._window and is_full and is_checkpoint_due(trainer, pl_module, self._checkpoint_every)):
            return
        reward = sum(self._window) / len(self._window)
        self._window = []
        if reward > self._best_reward:
            self._best_reward = reward
            weights = fsdp.full_state_dict(pl_module.policy.lm)
            write = report_disk_full(self.path, lambda path: torch.save(weights, path))
            self._folder.write(f"checkpoints/{self.path.name}", write)

    def state_dict(self) -> dict[str, Any]:
        """Return the state that the choice needs after a resume."""
        return {"best": self._best_reward, "window": list(self._window)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore ``state_dict``."""
        self._best_reward, self._window = state_dict["best"], list(state_dict["window"])


class CheckpointCallback(pl.Callback):
    """Writes the checkpoint from which a run resumes; it atomically replaces the previous one.

    Attributes:
        path: The checkpoint: a file, or a folder of shards under ``trainer=fsdp``.
    """

    def __init__(self, folder: RunFolder, checkpoint_every: int) -> None:
        self.path = folder.path / "checkpoints" / "last.ckpt"
        self._folder, self._checkpoint_every = folder, checkpoint_every

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save every ``checkpoint_every`` iterations and when the run stops."""
        assert isinstance(pl_module, Algorithm)
        if is_checkpoint_due(trainer, pl_module, self._checkpoint_every):
            self.save(trainer)

    def save(self, trainer: pl.Trainer) -> None:
        """Write the checkpoint now; all ranks must call this together."""
        write = report_disk_full(self.path, trainer.save_checkpoint)
        self._folder.write_collective(f"checkpoints/{self.path.name}", write)


class RunCallbacks(NamedTuple):
    """The callbacks of a run, in the order in which Lightning must call them.

    The metrics come first because alerts and the best weights read them. The stop comes before the two that save,
    because the last iteration is always saved. The checkpoint comes last, so that it covers all files and states
    before it.
    """

    metrics: MetricsWriter
    data: TrainingDataWriter
    alerts: AlertCallback
    stop: GracefulStop
    best: BestWeights
    checkpoint: CheckpointCallback


def build_callbacks(
    folder: RunFolder,
    view: View,
    logger: Logger,
    reward: CompositeReward,
    checkpoint_every: int,
    thresholds: AlertThresholds,
) -> RunCallbacks:
    """Build the callbacks of a run.

    Args:
        folder: The run folder that they write to.
        view: The terminal view.
        logger: Where metrics are logged, besides ``metrics.jsonl``.
        reward: The reward of the run, whose errors are counted.
        checkpoint_every: Iterations between checkpoints, and the window over which ``BestWeights`` averages.
        thresholds: The thresholds of the alerts.

    Returns:
        The callbacks, in order.
    """
    metrics = MetricsWriter(folder, view, logger, reward)
    return RunCallbacks(
        metrics,
        TrainingDataWriter(folder),
        AlertCallback(folder, view, metrics, thresholds),
        GracefulStop(view),
        BestWeights(folder, metrics, checkpoint_every),
        CheckpointCallback(folder, checkpoint_every),
    )


def is_checkpoint_due(trainer: pl.Trainer, algorithm: Algorithm, checkpoint_every: int) -> bool:
    """Return whether a checkpoint is written after this iteration."""
    return bool(trainer.should_stop) or algorithm.iteration % checkpoint_every == 0


def report_disk_full(path: Path, write: Callable[[Path], object]) -> Callable[[Path], object]:
    """Return ``write``, with torch's error for a full disk replaced by the operating system's."""

    def written(temporary: Path) -> None:
        try:
            write(temporary)
        except RuntimeError as error:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error

    return written
