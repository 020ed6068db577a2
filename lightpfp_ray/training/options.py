"""What of the training can be chosen beside the stages; the control file's section holds the same
names and their meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Options:
    """How a training goes; the defaults are those of the control file."""

    optimizer: str = "adam"  # or "varpro"
    starts: int = 8  # random radial functions of which the best is taken
    whitening: bool = True
    least_squares_start: bool = True
    least_squares_stages: bool = True
    averaging: float = 0.0  # decay of the average of the walkers per update; 0: none
    early_stopping: int | None = None  # epochs without a better test loss
    group_weights: Mapping[str, object] = field(default_factory=dict)
