"""Compare answers with math-verify in worker processes, each comparison under a limit that always takes effect.

A fork server with math-verify already loaded forks the workers, so a killed worker is replaced in milliseconds. If the
fork server cannot open a local socket, workers are spawned instead, which is slower.

Three limits end a comparison:

    1. The pool kills a worker whose comparison exceeds the wall-clock limit.
    2. A memory limit ends the computation of a number with a billion digits.
    3. A kernel alarm ends a worker that the pool cannot kill, for example because its parent process has died.

As with all multiprocessing, a script that uses this module must guard its code with ``if __name__ == "__main__"``.
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
START_TIMEOUT = 60.0  # seconds within which the first worker must answer
MEMORY = 2 * 2**30  # bytes; limit of a worker's address space
CACHE_SIZE = 2**16  # number of cached comparisons
RETRY_AFTER = 60.0  # seconds until a timed-out comparison is tried once more, because the machine may have been busy
START_METHODS = ("forkserver", "spawn")  # in order of preference; only the fork server needs a local socket
log = logging.getLogger(__name__)

Pair = tuple[str, str]  # gold, answer


class Pool:
    """Compare (gold, answer) pairs in worker processes, and cache the results.

    A timeout depends on the load of the machine, so its first occurrence is cached for ``RETRY_AFTER`` seconds only. A
    second timeout of the same pair is cached permanently.

    Args:
        seconds: Limit of wall-clock time for each comparison.
    """

    def __init__(self, *, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._known: OrderedDict[Pair, str] = OrderedDict()
        self._late: OrderedDict[Pair, float] = OrderedDict()  # pairs that timed out once, and when
        self._workers: ProcessPool | None = None
        self._owner = 0  # process that started the workers; a forked process must start its own
        self._finalizer: weakref.finalize[..., Any] | None = None

    def compare(self, pairs: list[Pair]) -> dict[Pair, str]:
        """Compare many pairs, in parallel.

        Args:
            pairs: (gold, answer), both in LaTeX. Duplicates are compared once.

        Returns:
            "right", "wrong", "unparsed" or "timeout" for each distinct pair.

        Raises:
            UserError: If the worker processes do not start or stop answering.
        """
        with self._lock:
            now = time.monotonic()
            cached = {
                pair: self._known[pair]
                for pair in pairs
                if pair in self._known and now - self._late.get(pair, now) < RETRY_AFTER
            }
            for pair in cached:
                self._known.move_to_end(pair)
        pending = [pair for pair in pairs if pair not in cached]
        if not pending:
            return cached
        workers = self._ensure_workers()
        try:
            futures = {
                pair: workers.schedule(compare, args=[*pair, self._seconds], timeout=self._seconds) for pair in pending
            }
            fresh = {pair: self._result(future) for pair, future in futures.items()}
        except (RuntimeError, CancelledError) as error:  # the pool has died, or another thread has closed it
            raise self._worker_error(f"{type(error).__name__}: {error}") from error
        if late := sum(reason == "timeout" for reason in fresh.values()):
            log.warning("%d of %d answers not decided in %g s: verdict 'timeout'", late, len(fresh), self._seconds)
        with self._lock:
            for pair, reason in fresh.items():
                if self._late.pop(pair, None) is None and reason == "timeout":
                    self._late[pair] = time.monotonic()
            self._known.update(fresh)
            while len(self._known) > CACHE_SIZE:
                self._known.popitem(last=False)
            while len(self._late) > CACHE_SIZE:
                self._late.popitem(last=False)
        return cached | fresh

    def close(self) -> None:
        """End the worker processes. The next comparison starts new ones."""
        with self._lock:
            if self._finalizer is not None:
                self._finalizer()
            self._workers = None

    def _result(self, future: Future[str]) -> str:
        try:
            # Each worker returns a result within the limit, so a pool that is silent for longer has died.
            return future.result(timeout=self._seconds + START_TIMEOUT)
        except ProcessExpired:  # the memory limit or the alarm ended the worker
            return "timeout"
        except TimeoutError:
            if future.done():
                return "timeout"
            raise self._worker_error("they stopped answering") from None

    def _ensure_workers(self) -> ProcessPool:
        with self._lock:
            if self._workers is not None and self._owner == os.getpid() and self._workers.active:
                return self._workers
            self._workers = None
            error: Exception | None = None
            for method in START_METHODS:
                if method not in multiprocessing.get_all_start_methods():
                    continue
                context = multiprocessing.get_context(method)
                if method == "forkserver":
                    context.set_forkserver_preload(["math_verify", __name__])
                workers = ProcessPool(max_workers=WORKERS, initializer=limit_worker, context=context)
                finalizer = weakref.finalize(self, _stop_workers, workers, os.getpid())
                try:
                    workers.schedule(compare, args=["x", "x", START_TIMEOUT]).result(timeout=START_TIMEOUT)
                except Exception as failure:  # fallback: try the next start method
                    error = error or failure
                    finalizer()
                    continue
                self._workers, self._owner, self._finalizer = workers, os.getpid(), finalizer
                return workers
            raise self._worker_error(f"{type(error).__name__}: {error}") from error

    def _worker_error(self, cause: str) -> UserError:
        return UserError(
            f"the grader's worker processes do not run ({cause}); check the free memory and the limit on processes, "
            "and that your script guards its code with if __name__ == '__main__'"
        )


def _stop_workers(workers: ProcessPool, owner: int) -> None:
    if os.getpid() == owner:  # a forked process must not stop the workers of its parent
        workers.stop()
        workers.join()


def limit_worker() -> None:
    """Configure a worker process: default signal handling, a memory limit, and no log output."""
    import signal

    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the process must end even while no Python code runs
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, ValueError, OSError):
        pass  # this system has no such limit; the wall-clock limit still applies
    logging.disable(logging.CRITICAL)
    import math_verify  # noqa: F401  load it before the first time limit starts


def compare(gold: str, answer: str, seconds: float) -> str:
    """Compare two answers inside a worker process.

    Args:
        gold: The gold answer, LaTeX.
        answer: The answer of a reply, LaTeX.
        seconds: Limit of wall-clock time. The alarm that ends this process is set to 2 * seconds + 1.

    Returns:
        "right", "wrong", "unparsed", or "timeout" if the comparison runs out of memory.
    """
    import signal

    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, 2 * seconds + 1)
    try:
        return compare_answers(gold, answer)
    except MemoryError:
        return "timeout"
    except Exception:  # fallback: sympy, antlr and latex2sympy raise many kinds of errors on text that is not LaTeX
        return "unparsed"
    finally:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
