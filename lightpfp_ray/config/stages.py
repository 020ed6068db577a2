"""The stages of a training: the parallel lists of a control file transposed, calibration last.

Epochs, where total_epoch T is given:

    two stages and calibration    T/4 : the rest : T/4        two stages alone    T/3 : the rest
    otherwise                     calibration T/4, the rest in proportion to epoch_list

Each is rounded (half to even) and the sum is T. A T below 4 leaves some stages 0 epochs, never the
last list stage: calibration takes its coefficients from that stage's losses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise

SCHEDULER_STEPS = 25
"""scheduler_step_size is this fraction of a stage's epochs where it is not given."""


@dataclass(frozen=True)
class Stage:
    """One stage: so many epochs of an optimizer, with a loss of its own.

    The coefficients of calibration are None: they are found when it begins. Its loss is that of the
    last list stage.
    """

    name: str  # "stage_1", ..., "calibration", "polish"; of others "member_2/stage_1", ...
    epochs: int
    lr: float
    energy_coeff: float | None
    forces_coeff: float | None
    stress_coeff: float | None
    loss: str  # "mse", "l1"
    scheduler: str  # "step", "linear_warmup", "None"
    scheduler_step_size: int  # epochs
    member: int = 0  # of the committee
    optimizer: str = "adam"  # or "varpro": an epoch is an iteration, `lr` is not used
    tolerance: float = 1e-6  # of varpro: ends where five epochs lower the loss by less, as a part

    @property
    def calibrated(self) -> bool:
        """Whether its coefficients are those of calibration."""
        return self.energy_coeff is None

    @property
    def ends_by_itself(self) -> bool:
        """Whether `epochs` are the most that it takes."""
        return self.optimizer == "varpro"


POLISH, POLISH_TOLERANCE = "polish", 0.03
"""The stage after the others: of every member of a committee its last."""


def epochs_said(stages: Sequence[Stage]) -> str:
    """ "320 epochs", or "320 epochs and at most 60 of polish"."""
    polish = sum(stage.epochs for stage in stages if stage.name.endswith(POLISH))
    others = sum(stage.epochs for stage in stages) - polish
    return f"{others} epochs" + (f" and at most {polish} of polish" if polish else "")


def split_epochs(total: int, proportions: Sequence[int], with_calibration: bool) -> list[int]:
    """Epochs of the list stages, and of calibration where it is wanted; they sum to `total`.

    `proportions` is epoch_list; of two stages only their number counts.
    """
    calibration = round(Fraction(total, 4)) if with_calibration else 0
    if len(proportions) == 2:
        first = calibration if with_calibration else round(Fraction(total, 3))
        stages = [first, total - calibration - first]
    else:
        stages = _shared(total - calibration, proportions)
    return stages + [calibration] * with_calibration


def _shared(total: int, proportions: Sequence[int]) -> list[int]:
    """`total` in proportion, by rounding the running sums; the last share is at least 1."""
    whole = sum(proportions)
    exact = [Fraction(total * part, whole) for part in accumulate(proportions[:-1])]
    borders = [min(round(border), total - 1) for border in exact]
    return [after - before for before, after in pairwise([0, *borders, total])]


def step_size(given: int | None, epochs: int) -> int:
    """Epochs of a step of the scheduler in a stage of that many epochs."""
    return given if given is not None else max(1, epochs // SCHEDULER_STEPS)
