"""Stands in for run.py where the runner is tested: real configurations and real run folders, and no model.

A run is six rounds, each a line that depends on (seed, round) alone; ``algo=rcrl`` fails after its third, and
``algo=dpo`` waits to be interrupted.
"""

import hashlib
import json
import os
import signal
import sys
import time

from amend.config.compose import compose_config
from amend.results.run_folder.folder import RunFolder

ROUNDS = 6

cfg = compose_config(sys.argv[1:])
stopped = []
signal.signal(signal.SIGINT, lambda *_: stopped.append(1))
with RunFolder.resume(cfg) if cfg.resume else RunFolder.create(cfg) as folder:
    path = folder.path / "metrics.jsonl"
    done = len(path.read_text(encoding="utf-8").splitlines()) if path.exists() else 0
    for number in range(done, ROUNDS):
        time.sleep(0.15)
        value = int(hashlib.sha256(f"{cfg.algo.name} {cfg.seed} {number}".encode()).hexdigest()[:6], 16)
        folder.append("metrics.jsonl", {"iteration": number + 1, "value": value})
        if cfg.algo.name == "rcrl" and number == 2:
            sys.exit("amend: round 3: the gradient is not finite")
        while cfg.algo.name == "dpo" and not stopped:
            time.sleep(0.02)
        if stopped:
            print(f"Stopped after round {number + 1}")
            sys.exit(130)
    lines = [json.loads(line)["value"] for line in path.read_text(encoding="utf-8").splitlines()]
    environment = {key: os.environ.get(key) for key in ("WANDB_MODE", "WANDB_RUN_GROUP")}
    cores = sorted(os.sched_getaffinity(0))
    lr = float(cfg.algo.get("lr", 0.0))
    folder.write_json("summary.json", {"lines": lines, "env": environment, "cores": cores, "loss": (lr - 0.3) ** 2})
    folder.finish()
