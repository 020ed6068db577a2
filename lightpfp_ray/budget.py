"""The epochs of a training that is to end at a given time.

    total_epoch = the largest with  elapsed + launch + training + results <= budget

What has passed is known, the training and its results are forecast, and the launch of the workers
is about twice the start of one process on this cluster.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from .config import ControlFile
from .errors import UserError
from .output import OutputFolder
from .progress import duration

if TYPE_CHECKING:
    from .cluster.session import Resources
    from .cluster.trainer import Job
    from .data.dataset import StructureSet
    from .data.manifest import Manifest

SECONDS = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}

PROCESSES = 2
"""Starts of processes, one after the other, until a training has begun: controller and worker."""

RECORD_S = 2.0
"""What MLflow needs at the end."""


def seconds_of(text: str) -> float:
    """Of "90", "30m", "1.5h". Raises UserError."""
    found = re.fullmatch(r"\s*(\d+\.?\d*)\s*([a-z]*)\s*", text)
    if not found or found[2] not in SECONDS or not float(found[1]):
        raise UserError(f"--time-budget {text}: expected a time, as 90s, 30m or 2h: write one")
    return float(found[1]) * SECONDS[found[2]]


def with_epochs(control: ControlFile, total_epoch: int) -> ControlFile:
    """The control file with another number of epochs."""
    tree = control.model_dump(mode="json", exclude_unset=True)
    tree.setdefault("common_config", {})["total_epoch"] = total_epoch
    return ControlFile.model_validate(tree)


def chosen_before(control: ControlFile, output: OutputFolder) -> ControlFile | None:
    """The control file with the epochs that an earlier start of the run in the folder chose."""
    try:
        before = json.loads(output.control.read_text())["common_config"]["total_epoch"]
    except (OSError, ValueError, KeyError):
        return None
    return with_epochs(control, before) if before else None


def fitted(
    control: ControlFile,
    job: Job,
    manifest: Manifest,
    sets: Mapping[str, StructureSet],
    asked: Resources,
    budget_s: float,
    began: float,
) -> ControlFile:
    """The control file with the epochs that fit; says so. Raises UserError where not one does.

    `began`: `time.monotonic()` at the start of the command.
    """
    import torch

    from .forecast import fitting_epochs, forecast

    n_workers = asked.workers
    torch.set_num_threads(asked.cpus_per_worker)
    found = forecast(job, manifest, sets)
    launch_s = PROCESSES * process_s()
    passed_s = time.monotonic() - began
    left_s = budget_s - passed_s - launch_s - found.results_s - RECORD_S
    epochs = fitting_epochs(found, control, left_s, n_workers)
    chosen = with_epochs(control, epochs)
    expected_s = found.total_s(n_workers, [s for s in chosen.stages if s.epochs])
    if expected_s > left_s:
        raise UserError(
            f"--time-budget {duration(budget_s)}: one epoch takes {duration(expected_s)}, and all "
            f"around it {duration(budget_s - left_s)}: give more time, workers, or a smaller "
            "potential"
        )
    parts = " + ".join(f"{stage.epochs}" for stage in chosen.stages)
    click.echo(
        f"time budget {duration(budget_s)}: {epochs} epochs ({parts}) take about "
        f"{duration(expected_s)}, start and results {duration(budget_s - left_s)}"
    )
    return chosen


def process_s() -> float:
    """How long Ray takes to start a process that loads torch."""
    import ray

    began = time.monotonic()
    ray.get(ray.remote(_load_torch).remote())
    return time.monotonic() - began


def _load_torch() -> None:
    import torch  # noqa: F401
