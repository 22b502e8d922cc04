"""Collective operations: distribute the work of a run over ranks, and give every rank all results.

Expensive work is sharded over ranks: sampling, grading, and the forward and backward passes. Every rank repeats cheap
work with the full data: advantages, token weights, the selection of problems, and counters. All ranks therefore always
hold the same episodes and the same weights. The code of an algorithm does not depend on the number of ranks, and
neither does the gradient:

    gradient = sum over ranks of  d/dtheta  sum_(i, t of the rank's rows) w_it L_it(theta)

The weights w are computed over the whole batch.

This module has no state. It uses the process group of torch.distributed. Without a process group the world size is 1,
and every function returns its input or the local result. All ranks must call the functions in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import torch
from jaxtyping import Int
from torch import Tensor, distributed

from amend.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")


def is_initialized() -> bool:
    """Return whether torch.distributed is initialized, which is also possible for a world size of 1."""
    return distributed.is_available() and distributed.is_initialized()


def world_size() -> int:
    """Return the number of processes of the run."""
    return distributed.get_world_size() if is_initialized() else 1


def rank() -> int:
    """Return the number of this process, counted from 0."""
    return distributed.get_rank() if world_size() > 1 else 0


def is_rank_zero() -> bool:
    """Return whether this process is rank 0, which writes files and prints."""
    return rank() == 0


def all_gather_object(value: Item) -> list[Item]:
    """Return the objects of all ranks, in the order of ranks.

    Args:
        value: The object of this rank, which must be picklable.
    """
    if world_size() == 1:
        return [value]
    objects: list[Any] = [None] * world_size()
    distributed.all_gather_object(objects, value)
    return objects


def all_reduce_any(value: bool) -> bool:
    """Return whether the value is true on any rank.

    Args:
        value: The value of this rank.
    """
    if world_size() == 1:
        return value
    device = torch.device("cuda", torch.cuda.current_device()) if distributed.get_backend() == "nccl" else "cpu"
    return bool(all_reduce_sum(torch.tensor([float(value)], device=device)) > 0)


def run_on_rank_zero(work: Callable[[], Result]) -> Result:
    """Run a function on rank 0 only, and return its result on all ranks.

    Args:
        work: The function. Its result must be picklable.

    Raises:
        UserError: If the function raises it on rank 0; all ranks raise it.
    """
    result: list[Any] = [None]
    if is_rank_zero():
        try:
            result = [work()]
        except UserError as error:
            result = [error]
    if world_size() > 1:
        distributed.broadcast_object_list(result)
    if isinstance(result[0], UserError):
        raise result[0]
    return result[0]


def map_sharded(items: Sequence[Item], work: Callable[[Sequence[Item]], Sequence[Result]]) -> list[Result]:
    """Run a function on a shard of the items on each rank, and return all results on all ranks.

    All shards are contiguous and have the same length, because the ranks of a sharded model must run in step. The last
    item fills up the shards. Its repeated results are dropped.

    Args:
        items: All items, the same on every rank.
        work: A function that returns one picklable result per item.

    Returns:
        One result per item, in the order of ``items``.

    Raises:
        UserError: If the function raises it on any rank; all ranks raise it.
    """
    if world_size() == 1 or not items:
        return list(work(items))
    length = -(-len(items) // world_size())
    padded = [*items, *[items[-1]] * (length * world_size() - len(items))]
    shard: list[Result] | UserError
    try:
        shard = list(work(padded[rank() * length : (rank() + 1) * length]))
    except UserError as error:
        shard = error
    results: list[Result] = []
    for result in all_gather_object(shard):
        if isinstance(result, UserError):
            raise result
        results += result
    return results[: len(items)]


def shard_batches(
    rows: Int[Tensor, " m"], cut: Callable[[Int[Tensor, " n"]], Iterable[Int[Tensor, " l"]]]
) -> list[tuple[Int[Tensor, " l"], float]]:
    """Split row numbers into contiguous shards, and return the micro-batches of this rank.

    All ranks get the same number of micro-batches, because all ranks must take part in every forward pass of a sharded
    model. A rank with fewer micro-batches gets dummy micro-batches with weight 0.

    Args:
        rows: The numbers of all rows, the same on every rank.
        cut: A function that splits the rows of one shard into micro-batches.

    Returns:
        The row numbers of each micro-batch, with the weight of the micro-batch: 1, or 0 for a dummy micro-batch.
    """
    shards = [
        [piece for piece in (cut(shard) if len(shard) else ()) if len(piece)]
        for shard in rows.tensor_split(world_size())
    ]
    pieces = [(piece, 1.0) for piece in shards[rank()]]
    return pieces + [(rows[-1:], 0.0)] * (max(map(len, shards)) - len(pieces))


def all_reduce_sum(value: Tensor) -> Tensor:
    """Return the sum of a tensor over all ranks. With several ranks, the tensor is changed in place.

    Args:
        value: The tensor of this rank.
    """
    if world_size() > 1:
        distributed.all_reduce(value)
    return value


def all_reduce_dict(value: dict[str, float]) -> dict[str, float]:
    """Return the sum of each number over all ranks.

    Args:
        value: The numbers of this rank by name. A name that is missing on a rank counts as 0 there.
    """
    sums: dict[str, float] = {}
    for numbers in all_gather_object(value):
        for name, number in numbers.items():
            sums[name] = sums.get(name, 0.0) + number
    return sums


def all_reduce_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace each gradient by its sum over all ranks. A gradient that is None on all ranks stays None.

    FSDP sums the gradients of sharded weights in the backward pass, so this function does not change them.

    Args:
        parameters: The weights, in the same order on every rank.
    """
    unsharded = [p for p in parameters if p.requires_grad and not is_sharded(p)]
    if world_size() == 1 or not unsharded:
        return
    has_gradient = torch.tensor([float(p.grad is not None) for p in unsharded], device=unsharded[0].device)
    handles = []
    for weights, count in zip(unsharded, all_reduce_sum(has_gradient).tolist(), strict=True):
        if count:
            weights.grad = torch.zeros_like(weights) if weights.grad is None else weights.grad
            handles.append(distributed.all_reduce(weights.grad, async_op=True))
    for handle in handles:
        handle.wait()


def full_tensor(part: Tensor) -> Tensor:
    """Return the full tensor if ``part`` is the shard of a tensor, else return ``part`` itself."""
    return part.full_tensor() if is_sharded(part) else part  # type: ignore[attr-defined]


def is_sharded(weights: Tensor) -> bool:
    """Return whether the weights are a shard of a tensor that is sharded over ranks."""
    return hasattr(weights, "full_tensor")
