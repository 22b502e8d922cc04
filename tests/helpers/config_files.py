"""The files of conf/, and what some of them need beside them."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]


CONF = ROOT / "conf"


NEEDED = {
    "policy/hf": ["policy.path=owner/model"],
    "task/custom": ["task.source=mine.jsonl"],
    "dialogue/single": ["algo=grpo"],
    "reward/progress": ["algo=grpo", "algo.turns=2"],
    "dialogue/self_refine": ["algo=untrained"],
    "entropy/kl_cov": ["algo.num_minibatches=2"],
}


EVERY = sorted(path.relative_to(CONF).with_suffix("").as_posix() for path in CONF.glob("*/*.yaml"))


PARTS = ("loop", "scale_task")  # no choices: what conf/algo files are made of, and what a scale is for one task


FILES = [name for name in EVERY if name.split("/")[0] not in PARTS]
