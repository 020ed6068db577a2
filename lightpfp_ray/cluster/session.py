"""Ray, started here or joined: quiet, with what was asked for compared to what is there."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError

SETTINGS = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "30",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
}
"""Taken where the environment does not say otherwise."""

LOCAL_SETTINGS = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
}
"""For a Ray of our own, which listens on loopback only and ends with the command."""

LARGEST_AUTOMATIC = 8
"""CPUs that a worker is given on a cluster where nothing else was asked for."""


BESIDE_THE_PACKAGE = Path(__file__).parents[2]
"""Ray has workers look for modules first in the folder from which it was started: a source tree
there, without its compiled engine, would take the place of the package that this process runs.
"""

LOST = "A worker died or was killed while executing a task"
"""How Ray begins to tell of a lost worker, for ten lines."""

POLL_S = 2.0
"""Between two looks at a cluster that scales up."""


@dataclass(frozen=True)
class Resources:
    """What each of the workers gets."""

    workers: int
    cpus_per_worker: int
    device: str  # "cpu" or "cuda"
    fewest: int | None = None  # workers that go on when a node is lost; None: all are needed

    def of_each(self) -> dict[str, float]:
        """What one worker asks of Ray."""
        return {"CPU": self.cpus_per_worker} | ({"GPU": 1} if self.device == "cuda" else {})

    def each(self) -> str:
        return " and ".join(f"{n} {kind}" for kind, n in self.of_each().items())

    def fit(self, cpus: int, gpus: int) -> bool:
        """Whether a cluster of so many CPUs and GPUs holds all workers."""
        return all(
            self.workers * self.of_each().get(kind, 0) <= there
            for kind, there in (("CPU", cpus), ("GPU", gpus))
        )


@dataclass(frozen=True)
class Session:
    """A connection to Ray."""

    address: str  # "local": a Ray that this process started
    verbose: bool
    borrowed: bool = False  # somebody else in this process connected, and ends it

    @property
    def local(self) -> bool:
        return self.address == "local" and not self.borrowed

    def connect(self) -> None:
        """Raises UserError where a cluster does not answer."""

        quiet = {
            "log_to_driver": self.verbose,
            "logging_level": logging.INFO if self.verbose else logging.ERROR,
        }
        if self.local:
            for name, value in LOCAL_SETTINGS.items():
                os.environ.setdefault(name, value)
            with chdir(BESIDE_THE_PACKAGE):
                _start(quiet)
        elif not self.borrowed:
            with chdir(BESIDE_THE_PACKAGE):
                _join(self.address, quiet)
        if not (self.verbose or self.borrowed):
            _hide_losses()
        if threading.current_thread() is threading.main_thread():
            # the end that a job manager asks for is an interrupt; Ray would abort with a core
            signal.signal(signal.SIGTERM, signal.default_int_handler)

    def renew(self) -> None:
        """Leave, so that Ray ends all that this process began there, and connect again."""
        self.leave()
        self.connect()

    def leave(self) -> None:
        import ray

        if not self.borrowed:
            ray.shutdown()


@contextmanager
def ray_session(address: str | None, verbose: bool) -> Iterator[Session]:
    """A Ray to work on, ended at the end.

    address: of a cluster; "local" for one of our own; None for the cluster that RAY_ADDRESS or this
    machine names, or else one of our own. Raises UserError where a cluster does not answer.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import ray

    chosen = address or ("auto" if _cluster_is_named() else "local")
    session = Session(chosen, verbose, borrowed=ray.is_initialized())
    session.connect()
    try:
        yield session
    finally:
        session.leave()


def _cluster_is_named() -> bool:
    """Whether the environment or `ray start` on this machine names a cluster."""
    from ray._common.utils import get_ray_address_file

    return bool(os.environ.get("RAY_ADDRESS")) or os.path.exists(get_ray_address_file(None))


def _hide_losses() -> None:
    """Leave out what Ray prints of a lost worker, even where no logs are asked for: the run itself
    tells it in a line. Whatever else the nodes say is still printed.
    """
    from ray._private import worker

    printed = worker.print_to_stdstream
    if printed.__module__ == __name__:  # done before
        return

    def others(data: dict, *args, **options) -> None:
        if not (data.get("pid") == "raylet" and all(LOST in line for line in data["lines"])):
            printed(data, *args, **options)

    worker.print_to_stdstream = others


def _start(quiet: dict) -> None:
    import ray

    try:
        ray.init(address="local", include_dashboard=False, **quiet)
    except Exception as error:
        raise UserError(
            f"Ray does not start on this machine ({_first_line(error)}): is it busy, or out of "
            "memory or disk? Try again, or name a running cluster with --address"
        ) from None


def _join(address: str, quiet: dict) -> None:
    import ray

    try:
        ray.init(address=address, **quiet)
    except Exception as error:
        raise UserError(
            f"the Ray cluster at {address!r} does not answer ({_first_line(error)}): start it, or "
            "give --address local for a Ray of this command's own"
        ) from None


def _first_line(error: Exception) -> str:
    said = str(error).strip()
    return said.splitlines()[0][:120] if said else type(error).__name__


def resources(
    workers: int, cpus_per_worker: int | None, device: str, local: bool, wait_s: float = 0.0
) -> Resources:
    """What to ask Ray for; `wait_s`: how long a cluster that scales up has to become large enough.

    Raises UserError where the cluster could never give it.
    """
    cpus, gpus = _totals()
    if device == "auto":
        device = "cuda" if gpus >= workers else "cpu"
    share = max(1, cpus // workers)
    each = cpus_per_worker or (share if local else min(share, LARGEST_AUTOMATIC))
    fewest = 1 if workers > 1 and _n_nodes() > 1 else None
    asked = Resources(workers, each, device, fewest)
    if not asked.fit(cpus, gpus) and wait_s > 0:
        cpus, gpus = _scaled_up(asked, wait_s)
    if not asked.fit(cpus, gpus):
        raise UserError(
            f"--workers {workers} with {asked.each()} each found a cluster of {cpus} CPUs and "
            f"{gpus} GPUs: ask for fewer, start a larger cluster, or let one that scales up grow "
            "with --wait-for-nodes"
        )
    return asked


def slots(each: Resources) -> int:
    """How many of such groups of workers the cluster holds at a time; at least one."""
    cpus, gpus = _totals()
    room = cpus // (each.workers * each.cpus_per_worker)
    if each.device == "cuda":
        room = min(room, gpus // each.workers)
    return max(1, room)


def _totals() -> tuple[int, int]:
    """CPUs and GPUs of the nodes that are there."""
    import ray

    total = ray.cluster_resources()
    return int(total.get("CPU", 0)), int(total.get("GPU", 0))


def _n_nodes() -> int:
    import ray

    return sum(node["Alive"] for node in ray.nodes())


def _scaled_up(asked: Resources, wait_s: float) -> tuple[int, int]:
    """CPUs and GPUs after the autoscaler was asked for room and had time to make it."""
    from ray.autoscaler.sdk import request_resources

    request_resources(bundles=[asked.of_each()] * asked.workers)
    until = time.monotonic() + wait_s
    while not asked.fit(*_totals()) and time.monotonic() < until:
        time.sleep(POLL_S)
    return _totals()
