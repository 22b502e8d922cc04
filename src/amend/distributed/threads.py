"""Set the number of CPU threads that torch uses in one rank."""

from __future__ import annotations

import os

import torch

from amend.distributed import collectives


def set_threads(count: int, nodes: int) -> None:
    """Set the number of threads of torch.

    Args:
        count: The number of threads; 0: an equal share of the available cores for each rank of the machine.
        nodes: The number of machines of the run.
    """
    ranks_per_node = max(collectives.world_size() // nodes, 1)
    torch.set_num_threads(count or max(len(os.sched_getaffinity(0)) // ranks_per_node, 1))
