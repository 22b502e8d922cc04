"""Check shapes and types at run time in the tests: jaxtyping and beartype look at each call into amend.

The hook must be in place before amend is first imported, so nothing of amend is imported here at the top. The checks
take up to a third of the time of the algorithms' tests; ``AMEND_TYPECHECK=0`` turns them off.
"""

from __future__ import annotations

import os
from typing import Any

from beartype.claw import beartype_package
from jaxtyping import install_import_hook
from typecheck import CONF, shaped

os.environ.setdefault("WANDB_MODE", "offline")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

if os.environ.get("AMEND_TYPECHECK", "1") != "0":  # make test leaves it out, make test-all and .ci/run do not
    beartype_package("amend", conf=CONF)
    install_import_hook(shaped(), "typecheck.check")


def pytest_configure() -> None:
    """Tests run side by side, so each keeps to one thread, and none has a deadline that its neighbour can break."""
    import torch
    from hypothesis import settings

    keep_to_own_cores()
    torch.set_num_threads(1)
    settings.register_profile("amend", deadline=None)
    settings.load_profile("amend")


def keep_to_own_cores() -> None:
    """A worker's share of the machine, for itself and whatever it starts: runs take as many threads as they may use
    cores, and threads of two runs on the same core wait for each other."""
    worker, workers = os.environ.get("PYTEST_XDIST_WORKER"), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if worker is not None and len(cores) >= workers:
        os.sched_setaffinity(0, cores[int(worker.removeprefix("gw")) :: workers])


def pytest_collection_modifyitems(items: list[Any]) -> None:
    """Whole runs first: a worker that begins a long test last leaves the other with nothing to do."""
    items.sort(key=lambda item: item.path.parent.name not in ("tests", "notebooks"))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Which tests were skipped, and what enables them: a reason says ``enable with: <command>`` where there is one."""
    skipped: dict[str, list[str]] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        skipped.setdefault(reason.removeprefix("Skipped: "), []).append(report.nodeid)
    for reason, tests in skipped.items():
        terminalreporter.section(f"{len(tests)} skipped: {reason}")
        terminalreporter.write_line("\n".join(tests))
