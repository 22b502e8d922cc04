"""A policy whose weights lie divided among the processes: FSDP2 (Zhao et al. 2023, arXiv 2304.11277).

Each process holds a part of every matrix; a layer's parts are brought together when it is read, and dropped again. So
every forward pass is everybody's, and whoever has nothing left to read reads along (``ranks.dealt``, and the engine,
which goes on until all have ended). Gradients come divided like the weights, and summed over processes.

The policy as a whole is the outermost unit: it holds embeddings and output, which are often one matrix and are used by
themselves, and it is entered by ``forward`` and ``next_logits`` alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, set_model_state_dict
from torch.distributed.checkpoint.state_dict_loader import load as read_parts
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from transformers.modeling_layers import GradientCheckpointingLayer

from amend import ranks
from amend.policy.model import Policy


def divide(policy: Policy, device: torch.device) -> None:
    """From now on each process holds, on ``device``, a part of the policy's weights and of its reference's. Needs a
    process group. The device never holds more than parts and one layer: what is divided may lie elsewhere before."""
    if policy.adapter:
        policy.adapter.freeze()  # which makes the reference's own update, for it to be divided with the rest
    for layer in [module for module in policy.modules() if isinstance(module, GradientCheckpointingLayer)]:
        divide_one(layer, device)
    divide_one(policy, device)
    register_fsdp_forward_method(policy, "next_logits")
    if policy.adapter:
        policy.adapter.begin()  # in parts, as the update is by now


def weights(policy: Policy) -> dict[str, Any]:
    """The weights of the model, as a file of them holds them; of a divided one, on the first process alone."""
    if not policy.divided:
        return dict(policy.lm.state_dict())
    return get_model_state_dict(policy.lm, options=StateDictOptions(full_state_dict=True, cpu_offload=True))


def load_parts(module: nn.Module, folder: Path) -> None:
    """The weights of a checkpoint whose parts each process wrote, into a module that is divided."""
    state = {"state_dict": get_model_state_dict(module)}
    read_parts(state, checkpoint_id=folder)
    set_model_state_dict(module, state["state_dict"])


def load(policy: Policy, whole: dict[str, Any]) -> None:
    """``weights`` into the model again; each process has them all."""
    if policy.divided:
        set_model_state_dict(policy.lm, whole, options=StateDictOptions(full_state_dict=True))
    else:
        policy.lm.load_state_dict(whole)


def divide_one(module: nn.Module, device: torch.device) -> None:
    """Divide a module's weights, those left out that are divided already; nothing where all are."""
    if isinstance(module, FSDPModule):
        return
    mesh = init_device_mesh(device.type, (ranks.size(),))
    # Together only while they are read: what stayed together after sampling would be stale after the next update.
    fully_shard(module, mesh=mesh, reshard_after_forward=True)
    assert isinstance(module, FSDPModule)
    module.set_gradient_divide_factor(1.0)  # a sum over processes: each token has its weight in the whole batch
    module.set_force_sum_reduction_for_comms(True)  # gloo has no other way to a factor
