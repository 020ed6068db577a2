"""Ray Train launches the training loop: one process a worker, one all-reduce an update.

Checkpoints and the journal are the loop's own files in the output folder, which every node must
see; a restarted worker group goes on from the newest of them.
"""

from __future__ import annotations

import shutil
import signal
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray.train
import torch
from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from torch import Tensor

from ..data.dataset import StructureSet
from ..data.schema import SPLITS
from ..errors import UserError
from ..journal import Journal
from ..mtp.levels import Levels, make_basis
from ..mtp.model import MTP, RadialShape
from ..potential import Potential, load_for
from ..training import loop
from ..training.context import Structures, WorkerContext
from ..training.loop import Loop
from ..training.plan import Plan
from ..training.reduction import sum_over_processes
from ..training.start import new_model
from .errors import unwrap
from .losses import Losses
from .session import Resources, Session
from .storage import FULL_OR_FORBIDDEN, unwritable

NOTES = "notes.txt"
"""Lines for the driver, one for each loss."""

RESTARTS = 10
"""How often a lost worker group is started again."""

CONTROLLER_RESTARTS = 3

COLLECTIVE_TIMEOUT_S = 300
"""How long a worker waits for the others before it gives up."""


@dataclass(frozen=True)
class Job:
    """All that a worker needs to train, as a value."""

    plan: Plan
    cache: Path  # prepared structures
    journal: Path
    potential: Path  # folder that the trained potential is written to
    species: tuple[int, ...]  # atomic numbers
    levels: Levels
    radial: RadialShape
    widths: tuple[int, ...]
    start: Path | None  # potential to start from, in place of a random one
    dtype: str  # "float64" or "float32"
    origin: dict[str, Any]


@dataclass(frozen=True)
class RayContext:
    """A worker among those that Ray Train launched."""

    rank: int
    world_size: int
    device: torch.device

    @classmethod
    def current(cls) -> RayContext:
        context = ray.train.get_context()
        return cls(context.get_world_rank(), context.get_world_size(), ray.train.torch.get_device())

    def sum_over_workers(self, flat: Tensor) -> Tensor:
        if self.world_size > 1:
            return sum_over_processes(flat)
        return flat


def fit(job: Job, resources: Resources, session: Session, scratch: Path) -> None:
    """Train on the Ray of a session. `scratch` is a folder for Ray's own records, and for lines
    about lost processes in its file NOTES.

    Lost workers are replaced by Ray Train's controller. Where the controller itself is lost, a new
    connection makes Ray end its workers, and a new controller goes on. Raises UserError for what
    the user can mend, with its one line.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    losses = Losses(scratch / NOTES, job.plan.folder, job.plan.stages)
    for controllers_left in reversed(range(CONTROLLER_RESTARTS)):
        storage = scratch / uuid.uuid4().hex
        try:
            with _interrupts():
                _trainer(job, resources, storage, losses).fit()
            return
        except ray.train.TrainingFailedError as error:
            raise (unwrap(error) or UserError(_summary(error))) from None
        except ray.exceptions.RayActorError as error:
            if not controllers_left:
                raise UserError(_summary(error)) from None
            losses.tell("the controller of the workers was lost")
            session.renew()
        finally:
            shutil.rmtree(storage, ignore_errors=True)


@contextmanager
def _interrupts() -> Iterator[None]:
    """An interrupt is a KeyboardInterrupt here as elsewhere, and its handler is put back: Ray Train
    leaves one of its own, which ends the process.
    """
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:
        raise KeyboardInterrupt from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


def _trainer(job: Job, resources: Resources, storage: Path, losses: Losses) -> TorchTrainer:
    failures = FailureConfig(max_failures=RESTARTS, controller_failure_limit=CONTROLLER_RESTARTS)
    return TorchTrainer(
        _work,
        train_loop_config={"job": job},
        torch_config=TorchConfig(timeout_s=COLLECTIVE_TIMEOUT_S),
        scaling_config=ScalingConfig(
            num_workers=(resources.fewest, resources.workers)
            if resources.fewest
            else resources.workers,
            use_gpu=resources.device == "cuda",
            resources_per_worker=resources.of_each(),
        ),
        run_config=RunConfig(
            name="train",
            storage_path=str(storage),
            failure_config=failures,
            callbacks=[losses],
            logging_config=LoggingConfig("ERROR"),
        ),
    )


def _summary(error: BaseException) -> str:
    """One line for a failure that is not the user's."""
    failures = getattr(error, "worker_failures", None) or {}
    rank, cause = next(iter(failures.items()), (None, error))
    lines = [line for line in str(cause).strip().splitlines() if line.strip()]
    where = "training failed" if rank is None else f"training failed on worker {rank}"
    return (
        f"{where}: {lines[-1].strip()[:200] if lines else type(cause).__name__}; the same command "
        "goes on from the last checkpoint, --verbose shows the logs"
    )


def _work(config: dict[str, Any]) -> None:
    """What each worker runs. A folder that cannot be written is the user's to mend."""
    job: Job = config["job"]
    try:
        sets = {split: StructureSet.open(job.cache, split) for split in SPLITS}
        train(job, sets, RayContext.current(), Journal(job.journal))
    except OSError as error:
        if error.errno not in FULL_OR_FORBIDDEN:
            raise
        raise unwritable(job.journal.parent, error) from None


def train(
    job: Job, sets: Mapping[str, Structures], context: WorkerContext, journal: loop.Journal
) -> None:
    """A worker's training from the first parameters to the potential on disk, whoever launched
    it.
    """
    model = _first_model(job, sets["train"], context)
    model = Loop(job.plan, model, sets, context, journal).run()
    if context.rank == 0:
        Potential(model, job.origin).save(job.potential)


def _first_model(job: Job, train: Structures, context: WorkerContext) -> MTP:
    if job.start:
        model = load_for(job.start, job.species).to(context.device)
    else:
        model = new_model(
            job.species,
            make_basis(job.levels),
            job.radial,
            job.widths,
            train,
            context,
            job.plan.seed,
        )
    return model.to(getattr(torch, job.dtype))
