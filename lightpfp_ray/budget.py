"""How long a command takes, from its start to its exit, and the epochs with which it ends in time.

    start + launch + training + results + end  <=  budget

The start has passed: Ray, the structures, the forecast itself. Training and results are forecast.
Launch and end, of workers and of the record in MLflow, are counted in starts of a process, one of
which is measured on this cluster.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
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

LAUNCH, END = 4.0, 1.8
"""In starts of a process: the controller and the worker of a training, one after the other, and
their end, the last words to MLflow, the end of Ray.
"""

RESERVE = 0.03
"""Of a budget: the forecast may be wrong to both sides, and too late is worse."""


@dataclass(frozen=True)
class Around:
    """What a command does beside its training and its results, in s."""

    start_s: float
    launch_s: float
    end_s: float

    @classmethod
    def of(cls, start_s: float, process_s: float) -> Around:
        """By the seconds until the launch, and those that the start of a process takes."""
        return cls(start_s, LAUNCH * process_s, END * process_s)

    @property
    def seconds(self) -> float:
        return self.start_s + self.launch_s + self.end_s


def seconds_of(text: str) -> float:
    """Of "90", "30m", "1.5h". Raises UserError."""
    found = re.fullmatch(r"\s*(\d+\.?\d*)\s*([a-z]*)\s*", text)
    if not found or found[2] not in SECONDS or not float(found[1]):
        raise UserError(f"--time-budget {text}: expected a time, as 90s, 30m or 2h: write one")
    return float(found[1]) * SECONDS[found[2]]


def chosen_before(control: ControlFile, output: OutputFolder) -> ControlFile | None:
    """The control file with the epochs that an earlier start of the run in the folder chose."""
    try:
        before = json.loads(output.control.read_text())["common_config"]["total_epoch"]
    except (OSError, ValueError, KeyError):
        return None
    return control.with_total_epoch(before) if before else None


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

    `budget_s`: from the start of the command, `began` by `time.monotonic()`, to its exit.
    """
    import torch

    from .forecast import fitting_epochs, forecast

    n_workers = asked.workers
    torch.set_num_threads(asked.cpus_per_worker)
    found = forecast(job, manifest, sets)
    process = process_s()
    around_s = Around.of(time.monotonic() - began, process).seconds + found.results_s
    left_s = (1 - RESERVE) * budget_s - around_s
    epochs = fitting_epochs(found, control, left_s, n_workers)
    chosen = control.with_total_epoch(epochs)
    expected_s = found.total_s(n_workers, chosen.stages)
    if expected_s > left_s:
        raise UserError(
            f"--time-budget {duration(budget_s)}: the search for a start and one epoch take "
            f"{duration(expected_s)}, and all around them, this forecast too, "
            f"{duration(around_s)}: give more time, workers, or a smaller potential"
        )
    parts = " + ".join(f"{stage.epochs}" for stage in chosen.stages)
    click.echo(
        f"time budget {duration(budget_s)}: {epochs} epochs ({parts}) take about "
        f"{duration(expected_s)}, start, results and end {duration(around_s)}"
    )
    return chosen


def process_s() -> float:
    """How long Ray takes to start a process that can train."""
    import ray

    began = time.monotonic()
    worker = ray.remote(_Worker).options(num_cpus=0).remote()
    ray.get(worker.load.remote())
    ray.kill(worker)
    return time.monotonic() - began


class _Worker:
    def load(self) -> None:
        from .cluster import trainer  # noqa: F401
