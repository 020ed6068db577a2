"""Ray, started here or joined: quiet, with what was asked for compared to what is there."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..errors import UserError

SETTINGS = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",
    "RAY_TRAIN_METRICS_ENABLED": "0",
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


@dataclass(frozen=True)
class Resources:
    """What each of the workers gets."""

    workers: int
    cpus_per_worker: int
    device: str  # "cpu" or "cuda"


@contextmanager
def ray_session(address: str | None, verbose: bool) -> Iterator[bool]:
    """A Ray to work on, ended at the end. Gives whether it was started here.

    address: of a cluster; "local" for one of our own; None for the cluster that RAY_ADDRESS or this
    machine names, or else one of our own. Raises UserError where a cluster does not answer.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    local = address == "local" or (address is None and not _cluster_is_named())
    import ray

    quiet = {
        "log_to_driver": verbose,
        "logging_level": logging.INFO if verbose else logging.ERROR,
    }
    if ray.is_initialized():
        yield False
        return
    if local:
        for name, value in LOCAL_SETTINGS.items():
            os.environ.setdefault(name, value)
        ray.init(address="local", include_dashboard=False, **quiet)
    else:
        _join(address or "auto", quiet)
    try:
        yield local
    finally:
        ray.shutdown()


def _cluster_is_named() -> bool:
    """Whether the environment or `ray start` on this machine names a cluster."""
    from ray._common.utils import get_ray_address_file

    return bool(os.environ.get("RAY_ADDRESS")) or os.path.exists(get_ray_address_file(None))


def _join(address: str, quiet: dict) -> None:
    import ray

    try:
        ray.init(address=address, **quiet)
    except Exception as error:
        said = (
            str(error).strip().splitlines()[0][:120] if str(error).strip() else type(error).__name__
        )
        raise UserError(
            f"the Ray cluster at {address!r} does not answer ({said}): start it, or give --address "
            "local for a Ray of this command's own"
        ) from None


def resources(workers: int, cpus_per_worker: int | None, device: str, local: bool) -> Resources:
    """What to ask Ray for. Raises UserError where the cluster could never give it."""
    import ray

    total = ray.cluster_resources()
    cpus, gpus = int(total.get("CPU", 0)), int(total.get("GPU", 0))
    if device == "auto":
        device = "cuda" if gpus >= workers else "cpu"
    if device == "cuda" and gpus < workers:
        raise UserError(
            f"--device cuda with --workers {workers} needs {workers} GPUs, the cluster has {gpus}: "
            "ask for fewer workers, or for --device cpu"
        )
    share = max(1, cpus // workers)
    each = cpus_per_worker or (share if local else min(share, LARGEST_AUTOMATIC))
    if workers * each > cpus:
        raise UserError(
            f"--workers {workers} with {each} CPU each needs {workers * each} CPUs, the "
            "cluster has "
            f"{cpus}: ask for fewer, or start a larger cluster"
        )
    return Resources(workers, each, device)
