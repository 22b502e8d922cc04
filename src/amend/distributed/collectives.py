"""Several processes at one run: who does what, and how each comes to know what all have found.

What is dear is divided: replies to be drawn, to be judged, and to be read for a gradient. What is cheap every process
does for itself, on everything: credit, weights, the choice of problems, what a run has spent. So all of them hold the
same episodes and the same weights at every moment, an algorithm is written as if it were alone, and the gradient is
the one it would have alone:

    gradient = sum over ranks of  d/dtheta  sum_(i, t of the rank's rows) w_it L_it(theta),     w over the whole batch

Nothing here holds a state of its own: it asks torch.distributed, and without a process group there is one process, for
which every function gives back what it was given. Each must be called by all processes, in the same order.
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
    """Whether processes have met, be it one alone."""
    return distributed.is_available() and distributed.is_initialized()


def world_size() -> int:
    """How many processes there are."""
    return distributed.get_world_size() if is_initialized() else 1


def rank() -> int:
    """Which of them this is, counted from 0."""
    return distributed.get_rank() if world_size() > 1 else 0


def is_rank_zero() -> bool:
    """Whether this is the one that speaks, draws and writes."""
    return rank() == 0


def all_gather_object(mine: Item) -> list[Item]:
    """What each process has, in the order of their ranks; anything that can be pickled."""
    if world_size() == 1:
        return [mine]
    found: list[Any] = [None] * world_size()
    distributed.all_gather_object(found, mine)
    return found


def all_reduce_any(mine: bool) -> bool:
    """Whether any process says so."""
    if world_size() == 1:
        return mine
    here = torch.device("cuda", torch.cuda.current_device()) if distributed.get_backend() == "nccl" else "cpu"
    return bool(all_reduce_sum(torch.tensor([float(mine)], device=here)) > 0)


def run_on_rank_zero(work: Callable[[], Result]) -> Result:
    """What the first process gets from ``work``, which the others leave to it; its UserError is raised on all."""
    found: list[Any] = [None]
    if is_rank_zero():
        try:
            found = [work()]
        except UserError as error:
            found = [error]
    if world_size() > 1:
        distributed.broadcast_object_list(found)
    if isinstance(found[0], UserError):
        raise found[0]
    return found[0]


def map_sharded(items: Sequence[Item], work: Callable[[Sequence[Item]], Sequence[Result]]) -> list[Result]:
    """``work(items)``, a result an item, each process working on neighbours; every one gets all results, in order.

    All shares are equally long, so that processes which must keep step do: the last item stands in where items are
    missing, and what it gives a second time is dropped. A UserError on one process is raised on all.
    """
    if world_size() == 1 or not items:
        return list(work(items))
    each = -(-len(items) // world_size())
    padded = [*items, *[items[-1]] * (each * world_size() - len(items))]
    done: list[Result] | UserError
    try:
        done = list(work(padded[rank() * each : (rank() + 1) * each]))
    except UserError as error:
        done = error
    results: list[Result] = []
    for found in all_gather_object(done):
        if isinstance(found, UserError):
            raise found
        results += found
    return results[: len(items)]


def shard_batches(
    rows: Int[Tensor, " m"], cut: Callable[[Int[Tensor, " n"]], Iterable[Int[Tensor, " l"]]]
) -> list[tuple[Int[Tensor, " l"], float]]:
    """``rows`` in shares of neighbours, and this process's, which ``cut`` divides: pieces with what each counts for.

    That is 1, or 0 for a piece that is read for company: every process has as many pieces as any other, for a model
    whose weights are divided among them is read by all at once or not at all.
    """
    hands = [
        [piece for piece in (cut(share) if len(share) else ()) if len(piece)]
        for share in rows.tensor_split(world_size())
    ]
    mine = [(piece, 1.0) for piece in hands[rank()]]
    return mine + [(rows[-1:], 0.0)] * (max(map(len, hands)) - len(mine))


def all_reduce_sum(mine: Tensor) -> Tensor:
    """The sum of every process's tensor."""
    if world_size() > 1:
        distributed.all_reduce(mine)
    return mine


def all_reduce_dict(mine: dict[str, float]) -> dict[str, float]:
    """The sums of every process's numbers, by name; a name that a process lacks counts 0 there."""
    found: dict[str, float] = {}
    for one in all_gather_object(mine):
        for name, value in one.items():
            found[name] = found.get(name, 0.0) + value
    return found


def all_reduce_gradients(parameters: Iterable[Tensor]) -> None:
    """Every gradient becomes the sum of all processes' gradients. One that no process has stays None.

    The gradients of divided weights (FSDP) were added up in the backward pass, and are left alone.
    """
    whole = [p for p in parameters if p.requires_grad and not is_sharded(p)]
    if world_size() == 1 or not whole:
        return
    there = torch.tensor([float(p.grad is not None) for p in whole], device=whole[0].device)
    waiting = []
    for weights, count in zip(whole, all_reduce_sum(there).tolist(), strict=True):
        if count:
            weights.grad = torch.zeros_like(weights) if weights.grad is None else weights.grad
            waiting.append(distributed.all_reduce(weights.grad, async_op=True))
    for sent in waiting:
        sent.wait()


def full_tensor(part: Tensor) -> Tensor:
    """The tensor that this is a part of, where its parts lie divided among the processes; else itself."""
    return part.full_tensor() if is_sharded(part) else part  # type: ignore[attr-defined]


def is_sharded(weights: Tensor) -> bool:
    """Whether these are a part of weights that lie divided among the processes."""
    return hasattr(weights, "full_tensor")
