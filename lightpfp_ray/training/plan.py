"""What is to be trained, as the control file and the data say it, and where it is kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .options import Options
from .search import ROUNDS, Round

if TYPE_CHECKING:
    from ..config import Stage


@dataclass(frozen=True)
class Plan:
    """All stages of a training, and where its checkpoints are."""

    stages: tuple[Stage, ...]
    batch_size: int
    seed: int
    fingerprint: str  # of control file and data
    folder: Path
    checkpoint_interval_s: float
    options: Options = field(default_factory=Options)
    radii: tuple[float, ...] = ()  # of the species, A: sizes of the pairs that share
    rounds: tuple[Round, ...] = ROUNDS  # of the search for a start
