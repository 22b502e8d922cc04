"""Start one process per device with Lightning's launcher, and end the processes when the run ends.

Rank 0 starts the other ranks with the same command; environment variables contain their rank. torchrun and Slurm start
all ranks themselves, so nothing is started then. ``amend.distributed.collectives`` uses the process group that the
ranks create.

Only rank 0 writes to the terminal; the output of other ranks is discarded. Every user error on another rank also occurs
on rank 0. All other ranks exit when rank 0 exits.
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

RANK_ZERO_GRACE_SECONDS = 10.0  # seconds that a failed rank waits for rank 0 to fail with the same error and to end it
POLL_SECONDS = 0.5  # seconds between two checks whether the parent process still runs


def device(accelerator: Literal["auto", "cpu", "gpu"]) -> torch.device:
    """Return the device of this process: its own GPU if the machine has GPUs and they are allowed, else the CPU.

    Args:
        accelerator: The configured accelerator; ``auto`` prefers a GPU.

    Raises:
        UserError: If ``accelerator`` is ``gpu`` and torch finds no GPU.
    """
    if accelerator == "gpu" and not torch.cuda.is_available():
        raise UserError("trainer.accelerator=gpu: torch sees no GPU on this machine; allowed: auto, cpu")
    if accelerator == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))


@contextmanager
def one_process_per_device(
    accelerator: Literal["auto", "cpu", "gpu"], devices: int | Literal["auto"], nodes: int, arguments: Sequence[str]
) -> Iterator[None]:
    """Run the context in one process per device.

    Args:
        accelerator: The configured accelerator.
        devices: The number of devices of each machine; ``auto``: all devices.
        nodes: The number of machines.
        arguments: The command-line arguments with which the other processes are started.

    Raises:
        UserError: If the machine has fewer GPUs than ``devices``.
    """
    from lightning_fabric import Fabric

    kind = "gpu" if device(accelerator).type == "cuda" else "cpu"
    available = torch.cuda.device_count() if kind == "gpu" else len(os.sched_getaffinity(0))
    if devices != "auto" and kind == "gpu" and devices > available:
        raise UserError(
            f"trainer.devices={devices}: torch sees {available} GPUs on this machine; allowed: 1 to {available}"
        )
    argv, environment = sys.argv, dict(os.environ)
    for name in ("lightning_fabric", "lightning.fabric", "torch.distributed"):
        logging.getLogger(name).setLevel(logging.ERROR)
    fabric = Fabric(accelerator=kind, devices=devices, num_nodes=nodes, strategy="ddp")
    sys.argv = [argv[0], *arguments]  # with -m, the other ranks must run this job only, not all jobs of the multirun
    try:
        fabric.launch()
    finally:
        sys.argv = argv
    changed = {name for name, value in os.environ.items() if environment.get(name) != value}  # RANK, MASTER_PORT, ...
    children = getattr(fabric.strategy.launcher, "procs", [])
    try:
        if collectives.is_rank_zero():
            yield
        else:
            silence_non_zero_rank()
            yield
            raise SystemExit(0)  # rank 0 sets the exit status of the run
    except Exception:  # fallback: leave the error message to rank 0, which usually fails with the same error
        if not collectives.is_rank_zero():
            # If rank 0 fails with the same error, it ends this process during this time.
            time.sleep(RANK_ZERO_GRACE_SECONDS)
        raise
    finally:
        for process in children:
            if sys.exc_info()[0] is not None:
                process.kill()  # the process may be waiting for this rank in a collective operation
            process.wait()
        if distributed.is_initialized():
            distributed.destroy_process_group()
        for name in changed:
            os.environ.pop(name, None)
            os.environ.update({name: environment[name]} if name in environment else {})


def silence_non_zero_rank() -> None:
    """Discard the output of this process, and end the process when its parent process ends."""
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    logging.disable(logging.WARNING)
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
