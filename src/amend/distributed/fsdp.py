"""Shard the weights of a module across ranks with FSDP2 (Zhao et al. 2023, arXiv 2304.11277).

Each rank holds a shard of every matrix. ``fully_shard`` gathers the weights of a layer before its forward pass and
drops them afterwards. Every forward pass is therefore a collective operation, in which all ranks must take part. A rank
that has no data left runs dummy micro-batches (``collectives.shard_batches``). Gradients are sharded like the weights
and summed over ranks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, set_model_state_dict
from torch.distributed.checkpoint.state_dict_loader import load as load_shards
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard

from amend.distributed import collectives


def shard_module(module: nn.Module, device: torch.device) -> None:
    """Shard a module's weights over all ranks. Submodules that are sharded already stay as they are.

    Args:
        module: The module, which stays unchanged if it is sharded already.
        device: The device on which each rank holds its shard. Before the call, the full weights may be on another
            device.
    """
    if isinstance(module, FSDPModule):
        return
    mesh = init_device_mesh(device.type, (collectives.world_size(),))
    # Without resharding, weights that were gathered for sampling would be stale after the next optimizer step.
    fully_shard(module, mesh=mesh, reshard_after_forward=True)
    assert isinstance(module, FSDPModule)
    module.set_gradient_divide_factor(1.0)  # sum, not mean, over ranks: token weights cover the whole batch
    module.set_force_sum_reduction_for_comms(True)  # gloo supports no other gradient divide factor


def is_sharded_module(module: nn.Module) -> bool:
    """Return whether the module's weights are sharded over ranks."""
    return collectives.is_sharded(next(module.parameters()))


def full_state_dict(module: nn.Module) -> dict[str, Any]:
    """Return the full weights of a module.

    If the module is sharded, all ranks must call this function. Rank 0 returns the weights on the CPU, and other ranks
    return {}.
    """
    if not is_sharded_module(module):
        return dict(module.state_dict())
    return get_model_state_dict(module, options=StateDictOptions(full_state_dict=True, cpu_offload=True))


def load_full_state_dict(module: nn.Module, state_dict: dict[str, Any]) -> None:
    """Load full weights into a module, sharded or not. Every rank passes the full weights."""
    if is_sharded_module(module):
        set_model_state_dict(module, state_dict, options=StateDictOptions(full_state_dict=True))
    else:
        module.load_state_dict(state_dict)


def load_sharded_checkpoint(module: nn.Module, folder: Path) -> None:
    """Load a checkpoint folder with one file per rank into a sharded module."""
    state = {"state_dict": get_model_state_dict(module)}
    load_shards(state, checkpoint_id=folder)
    set_model_state_dict(module, state["state_dict"])
