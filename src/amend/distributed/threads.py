"""Set the number of torch threads of one rank."""

from __future__ import annotations

import os

import torch

from amend.distributed import collectives


def set_threads(count: int, nodes: int) -> None:
    """Set torch's number of threads.

    Args:
        count: number of threads; 0: the rank's share of the cores that this process may run on.
        nodes: number of machines over which the ranks are spread.
    """
    ranks_per_node = max(collectives.world_size() // nodes, 1)
    torch.set_num_threads(count or max(len(os.sched_getaffinity(0)) // ranks_per_node, 1))
