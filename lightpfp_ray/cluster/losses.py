"""What becomes of a worker that fails: a mistake of the user ends the run, a lost worker is told of
in one line, and the run goes on.

Ray calls its callbacks in the controller, which may run on any node: lines go through a file in the
folder that all nodes see, and the driver prints them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import ray
from ray.train import UserCallback

from ..training.checkpoint import newest, place_of
from .errors import unwrap

if TYPE_CHECKING:
    from ..config import Stage


@dataclass(frozen=True)
class Losses(UserCallback):
    """Of one run, in its controller."""

    file: Path  # lines for the driver
    checkpoints: Path
    stages: Sequence[Stage]

    def after_exception(self, run_context, worker_exceptions) -> None:
        for error in worker_exceptions.values():
            if found := unwrap(error):
                raise found
        self.tell(lost(worker_exceptions))

    def tell(self, what: str) -> None:
        """One more line, and from where the run goes on; a full disk is no reason to end it."""
        with suppress(OSError), self.file.open("a") as file:
            file.write(f"{what}; the training goes on {place(self.checkpoints, self.stages)}\n")


def lost(errors: Mapping[int, BaseException]) -> str:
    """Those of the workers whose process is gone; the others fail with them, for want of a sum."""
    gone = [rank for rank, error in errors.items() if _process_is_gone(error)]
    if gone:
        ranks = ", ".join(str(rank) for rank in sorted(gone))
        return f"worker {ranks} was lost (killed, or out of memory)"
    rank, error = next(iter(errors.items()))
    said = str(error).strip().splitlines()
    return f"worker {rank} failed ({said[-1].strip()[:120] if said else type(error).__name__})"


def _process_is_gone(error: BaseException) -> bool:
    """Ray Train wraps what Ray says of a process that does not answer."""
    return isinstance(getattr(error, "health_check_failure", error), ray.exceptions.RayActorError)


def place(checkpoints: Path, stages: Sequence[Stage]) -> str:
    """Where a run goes on, for people."""
    name = newest(checkpoints)
    if name is None:
        return "from its beginning"
    stage, epoch, _ = place_of(name)
    if stage == len(stages):
        return "from the end of its last stage"
    return f"from epoch {epoch + 1} of {stages[stage].name}"
