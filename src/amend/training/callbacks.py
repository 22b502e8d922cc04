"""What a run leaves behind, round by round: its lines, its checkpoints, its best weights, and a clean end on Ctrl-C.

A checkpoint is written beside the last one and renamed over it, so there is always a whole one. Lines of metrics.jsonl
are flushed before the checkpoint that covers them; a resumed run cuts the lines that its checkpoint does not know and
writes them again, the same. Times are not the same twice and so go to a file of their own.
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
from typing import Any

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

WARN_GAP = (
    0.1  # mean |log pi of trainer - of engine|, nats: a token as likely as the trainer says, give or take a tenth
)


class Keeper(pl.Callback):
    """Writes a run's folder while it trains.

    checkpoint_every: rounds between checkpoints, which is also the window that training reward is averaged over
    limits:           when the user is told of what quietly ruins training
    """

    def __init__(
        self,
        folder: RunFolder,
        view: View,
        logger: Logger,
        score: CompositeReward,
        checkpoint_every: int,
        limits: AlertThresholds,
    ) -> None:
        self.folder, self.view, self.logger, self.score = folder, view, logger, score
        self.checkpoint_every, self.alarms = checkpoint_every, AlertRules(limits)
        self.stopped = False  # by Ctrl-C
        self._asked = False
        self._window: list[float] = []
        self._best = float("-inf")
        self._told: set[str] = set()
        self._began = time.perf_counter()

    @property
    def last(self) -> Path:
        """The checkpoint to go on from."""
        return self.folder.path / "checkpoints" / "last.ckpt"

    @property
    def best(self) -> Path:
        """The weights with the highest training reward in the final stage."""
        return self.folder.path / "checkpoints" / "best.ckpt"

    # Lightning's hooks -----------------------------------------------------------------------------------------------

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """From now on the first Ctrl-C ends the run after the round; the second ends it at once."""
        self._before = signal.signal(signal.SIGINT, self._interrupt)
        self._began = time.perf_counter()
        for row in lines(self.folder.path / "metrics.jsonl"):  # what a resumed run has been told already
            self.alarms.look(row)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Ctrl-C is Python's again."""
        signal.signal(signal.SIGINT, self._before)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """The same when something went wrong."""
        signal.signal(signal.SIGINT, self._before)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """After a round: its line, a look at its health, and perhaps a checkpoint."""
        assert isinstance(pl_module, Algorithm)
        row = {
            **pl_module.record,
            **compute_round_metrics(pl_module.scored),
            "reward_errors": sum(self.score.failures.values()),
        }
        now = time.perf_counter()
        seconds, self._began = now - self._began, now
        drawn = row["response_length/mean"] * sum(len(s.episode.turns) for s in pl_module.scored)
        timing = {
            "iteration": row["iteration"],
            "seconds": seconds,
            **pl_module.timing,
            "tokens_per_second": drawn / seconds,
        }
        self.folder.append("metrics.jsonl", row)
        self.folder.append("timing.jsonl", timing)
        self.view.round(row, timing)
        self.logger.log(
            {**row, **{f"time/{key}": value for key, value in timing.items() if key != "iteration"}}, row["iteration"]
        )
        self._warn(row, pl_module.online)
        if pl_module.data:
            self.keep(f"data/{pl_module.data_name}-{row['iteration']:04d}.jsonl", pl_module.data)
        if pl_module.online and pl_module.was_final_stage:  # only the final stage's reward chooses
            self._window.append(row[f"reward_t{pl_module.turns}"])
        ended, self._asked = pl_module.progress >= 1, collectives.all_reduce_any(self._asked)
        if self._asked or ended or row["iteration"] % self.checkpoint_every == 0:
            self.save(trainer, pl_module)
        if self._asked:
            self.stopped = True
            trainer.should_stop = True
        elif ended:
            trainer.should_stop = True  # its budget may end a run before its rounds do

    def state_dict(self) -> dict[str, Any]:
        """What the next checkpoint's choice of the best weights needs."""
        return {"best": self._best, "window": list(self._window)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The inverse."""
        self._best, self._window = state_dict["best"], list(state_dict["window"])

    # files -----------------------------------------------------------------------------------------------------------

    def save(self, trainer: pl.Trainer, algorithm: Algorithm) -> None:
        """The best weights, if these are; then the checkpoint to go on from. Each whole, or not at all."""
        full = len(self._window) >= self.checkpoint_every or algorithm.progress >= 1
        if self._window and full:
            reward = sum(self._window) / len(self._window)
            self._window = []
            if reward > self._best:
                self._best = reward
                weights = fsdp.full_state_dict(algorithm.policy.lm)
                self.folder.write(
                    f"checkpoints/{self.best.name}", report_disk_full(self.best, lambda p: torch.save(weights, p))
                )
        self.folder.jointly(f"checkpoints/{self.last.name}", report_disk_full(self.last, trainer.save_checkpoint))

    def keep(self, name: str, rows: list[dict[str, Any]]) -> None:
        """What the round built to learn from, a JSON object a line: ready for TRL's trainers."""
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        self.folder.write(name, lambda path: path.write_text(lines, encoding="utf-8"))

    # people ----------------------------------------------------------------------------------------------------------

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        self.view.note("Ctrl-C: this round is finished and saved first; Ctrl-C again stops at once.")

    def _warn(self, row: dict[str, Any], online: bool) -> None:
        """A word, once a run each, about what quietly ruins training."""
        if online and row.get("sampling/logp_difference", 0.0) > WARN_GAP and "gap" not in self._told:
            self._told.add("gap")
            self.view.note(
                f"the engine's log-probabilities are {row['sampling/logp_difference']:.2f} nats from the trainer's "
                f"on average: replies are "
                f"drawn from another policy than the one that is trained (precision? weights that never arrived?)"
            )
        for alarm in self.alarms.look(row):
            self.view.note(alarm.text)


def report_disk_full(path: Path, write: Callable[[Path], object]) -> Callable[[Path], object]:
    """``write``, which says of a disk that fills up what it is and not what torch makes of it."""

    def written(beside: Path) -> None:
        try:
            write(beside)
        except RuntimeError as error:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error

    return written
