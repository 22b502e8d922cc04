"""From one process to as many as there are devices, by Lightning's own launcher, and back to one at the end.

The first process starts the others: each is the same command once more, told by its environment which one it is. Under
torchrun or SLURM they are there already, and nothing is started. They meet, and from then on ``amend.ranks`` knows of
them. Only the first has anything to say: the others' output goes nowhere, and what they could complain of the first
complains of as well. None of them outlives it.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

import torch
from torch import distributed

from amend.distributed import collectives
from amend.errors import UserError

PATIENCE = 10.0  # seconds in which the first process ends the others when it fails as they do
WATCH = 0.5  # seconds between looks at whether the process that started this one is there


def device(accelerator: Literal["auto", "cpu", "gpu"]) -> torch.device:
    """What this process computes on: its own GPU where there are some (and they are not refused), else the CPU."""
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise UserError("trainer.accelerator=gpu: torch sees no GPU on this machine; allowed: auto, cpu")
    if accelerator == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))


@contextmanager
def one_process_per_device(
    accelerator: Literal["auto", "cpu", "gpu"], devices: int | Literal["auto"], nodes: int, words: Sequence[str]
) -> Iterator[None]:
    """Inside, a process a device, on each of ``nodes`` machines. ``words`` are this run's own on the command line."""
    from lightning_fabric import Fabric

    kind = "gpu" if device(accelerator).type == "cuda" else "cpu"
    there = torch.cuda.device_count() if kind == "gpu" else len(os.sched_getaffinity(0))
    if devices != "auto" and kind == "gpu" and devices > there:
        raise UserError(f"trainer.devices={devices}: torch sees {there} GPUs on this machine; allowed: 1 to {there}")
    typed, before = sys.argv, dict(os.environ)
    for name in ("lightning_fabric", "lightning.fabric", "torch.distributed"):
        logging.getLogger(name).setLevel(logging.ERROR)
    fabric = Fabric(accelerator=kind, devices=devices, num_nodes=nodes, strategy="ddp")
    sys.argv = [typed[0], *words]  # with -m, the others are to run this job and not all of them
    try:
        fabric.launch()
    finally:
        sys.argv = typed
    launched = {name for name, value in os.environ.items() if before.get(name) != value}  # RANK, MASTER_PORT, ...
    others = getattr(fabric.strategy.launcher, "procs", [])
    try:
        if collectives.is_rank_zero():
            yield
        else:
            silence_non_zero_rank()
            yield
            raise SystemExit(0)  # whatever the status is, the first process tells it
    except Exception:
        if not collectives.is_rank_zero():
            time.sleep(PATIENCE)  # if the first fails as well it ends this process now
        raise
    finally:
        for process in others:
            if sys.exc_info()[0] is not None:
                process.kill()  # it may be waiting for this one
            process.wait()
        if distributed.is_initialized():
            distributed.destroy_process_group()
        for name in launched:
            os.environ.pop(name, None)
            os.environ.update({name: before[name]} if name in before else {})


def silence_non_zero_rank() -> None:
    """Not to be heard, and not to outlive the process that started this one."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    logging.disable(logging.WARNING)
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
