"""What of a training can be chosen beside its stages; `config` says what each option means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import UserError

if TYPE_CHECKING:
    from ..config import Stage


@dataclass(frozen=True)
class Options:
    """Those of the control file's section lightpfp_ray that bear the same names."""

    starts: int = 8
    share_pairs: bool = False
    whitening: bool = True
    least_squares_start: bool = True
    least_squares_stages: bool = True
    weight_decay: float = 20.0
    members: int = 1
    early_stopping: int | None = None
    group_weights: Mapping[str, object] = field(default_factory=dict)


def refuse_contradiction(
    options: Options, stages: Sequence[Stage], widths: Sequence[int], tunes: bool = False
) -> None:
    """Raise UserError where the optimizer or a committee is not for such a training; `tunes`: it
    begins at a potential; `widths` are those of the network.
    """
    if options.members > 1 and tunes:
        raise UserError(
            f"lightpfp_ray.members is {options.members}, and the training begins at a potential: "
            "members differ by where they begin: set members to 1"
        )
    projected = [stage for stage in stages if stage.optimizer == "varpro"]
    if not projected:
        return
    if widths and tunes:
        raise UserError(
            f'lightpfp_ray.optimizer is "varpro" and the potential to start from has a network '
            f'{list(widths)}: varpro is for a linear readout: set optimizer to "adam"'
        )
    if widths:
        raise UserError(
            f'lightpfp_ray.optimizer is "varpro" and mtp_config.nn_dim_list {list(widths)}: varpro '
            'is for a linear readout: set nn_dim_list to [], or optimizer to "adam"'
        )
    if options.share_pairs:
        raise UserError(
            'lightpfp_ray.optimizer is "varpro" and share_pairs is true: varpro moves every '
            'pair by itself: set share_pairs to false, or optimizer to "adam"'
        )
    wrong = [stage.name for stage in projected if stage.loss != "mse"]
    if wrong:
        raise UserError(
            f'lightpfp_ray.optimizer is "varpro" and the loss of {wrong[0]} is l1: varpro is for '
            'mse: set loss_func_list to "mse", or optimizer to "adam"'
        )
