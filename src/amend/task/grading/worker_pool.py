"""Worker processes that compare two answers with math-verify, each comparison under a limit that really ends it.

A worker is forked from a server that has math-verify loaded, so that replacing a killed one takes milliseconds; where
not even a local socket can be had to speak to that server, workers are started from nothing, which takes a second.
Three fences: the pool kills a worker whose task ran too long; a memory limit turns a number of a billion digits into
a verdict; and an alarm that the kernel delivers ends a worker that the pool could not, even one whose parent is gone.

As with all multiprocessing, a script that uses this must guard its own work with ``if __name__ == "__main__"``.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
import time
import weakref
from collections import OrderedDict
from concurrent.futures import CancelledError, Future
from typing import Any

from pebble import ProcessExpired, ProcessPool

from amend.errors import UserError
from amend.task.grading.sympy_compare import compare_answers

WORKERS = 2
STARTING = 60.0  # seconds in which the first worker must have answered
MEMORY = 2 * 2**30  # bytes of address space a worker may use
REMEMBERED = 2**16  # comparisons
AGAIN = 60.0  # seconds after which a comparison that ran out of time is tried once more: the machine may have been busy
WAYS = ("forkserver", "spawn")  # to start a worker; the first is spoken to through a local socket, the second never
log = logging.getLogger(__name__)

Pair = tuple[str, str]  # gold, answer


class Pool:
    """Compares (gold, answer) pairs, ``seconds`` of wall clock each at the most, and remembers what it found.

    "timeout" tells of the machine as much as of the answer, so it is remembered for a minute; the second one for good.
    """

    def __init__(self, *, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._known: OrderedDict[Pair, str] = OrderedDict()
        self._late: OrderedDict[Pair, float] = OrderedDict()  # those that ran out of time once, and when
        self._workers: ProcessPool | None = None
        self._owner = 0  # the process that started the workers: a fork must start its own
        self._ending: weakref.finalize[..., Any] | None = None

    def compare(self, pairs: list[Pair]) -> dict[Pair, str]:
        """The reason for each distinct pair: right, wrong, unparsed or timeout. UserError if workers do not start."""
        with self._lock:
            now = time.monotonic()
            found = {
                pair: self._known[pair]
                for pair in pairs
                if pair in self._known and now - self._late.get(pair, now) < AGAIN
            }
            for pair in found:
                self._known.move_to_end(pair)
        asked = [pair for pair in pairs if pair not in found]
        if not asked:
            return found
        workers = self._started()
        try:
            futures = {
                pair: workers.schedule(compare, args=[*pair, self._seconds], timeout=self._seconds) for pair in asked
            }
            fresh = {pair: self._outcome(future) for pair, future in futures.items()}
        except (RuntimeError, CancelledError) as error:  # the pool itself is gone, or was closed meanwhile
            raise self._broken(f"{type(error).__name__}: {error}") from error
        if late := sum(why == "timeout" for why in fresh.values()):
            log.warning("%d of %d answers not decided in %g s: verdict 'timeout'", late, len(fresh), self._seconds)
        with self._lock:
            for pair, why in fresh.items():
                if self._late.pop(pair, None) is None and why == "timeout":
                    self._late[pair] = time.monotonic()
            self._known.update(fresh)
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
            while len(self._late) > REMEMBERED:
                self._late.popitem(last=False)
        return found | fresh

    def close(self) -> None:
        """End the workers; the next comparison starts new ones."""
        with self._lock:
            if self._ending is not None:
                self._ending()
            self._workers = None

    def _outcome(self, future: Future[str]) -> str:
        try:
            # Results come in at least one a limit and worker; a pool that is silent for longer is no longer there.
            return future.result(timeout=self._seconds + STARTING)
        except ProcessExpired:  # the worker died of its memory or of the alarm
            return "timeout"
        except TimeoutError:
            if future.done():
                return "timeout"
            raise self._broken("they stopped answering") from None

    def _started(self) -> ProcessPool:
        with self._lock:
            if self._workers is not None and self._owner == os.getpid() and self._workers.active:
                return self._workers
            self._workers = None
            error: Exception | None = None
            for way in WAYS:
                if way not in multiprocessing.get_all_start_methods():
                    continue
                context = multiprocessing.get_context(way)
                if way == "forkserver":
                    context.set_forkserver_preload(["math_verify", __name__])
                workers = ProcessPool(max_workers=WORKERS, initializer=limit_worker, context=context)
                ending = weakref.finalize(self, _end, workers, os.getpid())
                try:
                    workers.schedule(compare, args=["x", "x", STARTING]).result(timeout=STARTING)
                except Exception as why:  # whatever keeps a process from starting: the other way may do
                    error = error or why
                    ending()
                    continue
                self._workers, self._owner, self._ending = workers, os.getpid(), ending
                return workers
            raise self._broken(f"{type(error).__name__}: {error}") from error

    def _broken(self, what: str) -> UserError:
        return UserError(
            f"the grader's worker processes do not run ({what}); check the free memory and the limit on processes, "
            "and that your script guards its own work with if __name__ == '__main__'"
        )


def _end(workers: ProcessPool, owner: int) -> None:
    if os.getpid() == owner:  # a fork must not stop its parent's workers
        workers.stop()
        workers.join()


def limit_worker() -> None:
    """Make this worker easy to kill, short of memory, and silent."""
    import signal

    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # no Python code needs to run for it to end
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, ValueError, OSError):
        pass  # no such limit on this system: the clock still ends it
    logging.disable(logging.CRITICAL)
    import math_verify  # noqa: F401  loaded before the first task's clock starts


def compare(gold: str, answer: str, seconds: float) -> str:
    """Whether the two are mathematically equal: right, wrong, unparsed, or timeout (out of memory)."""
    import signal

    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, 2 * seconds + 1)
    try:
        return compare_answers(gold, answer)
    except MemoryError:
        return "timeout"
    except Exception:  # sympy, antlr and latex2sympy raise what they like, on text that is no mathematics
        return "unparsed"
    finally:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
