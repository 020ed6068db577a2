"""The control file: from JSON and overrides to a valid, frozen value and its stages.

The first three sections are LightPFP's; `lightpfp_ray` holds what is ours, and can be left out, so
that a file of LightPFP is valid here and means the same. {} is a valid file. Mistakes are found all
at once, each with its line. The options stand in `sections`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from ..errors import UserError
from .mistakes import sentences, shown
from .option import DECIDES, STRICT
from .sections import CommonConfig, MtpConfig, MultistageConfig, OwnConfig
from .stages import POLISH, POLISH_TOLERANCE, Stage, epochs_said, split_epochs, step_size
from .text import parse, read_text

__all__ = ["ControlFile", "Stage", "epochs_said", "load_control", "parse_control"]


class ControlFile(BaseModel):
    """A whole control file, valid and frozen; made by `load_control` or from sections."""

    model_config = STRICT

    common_config: CommonConfig = CommonConfig()
    mtp_config: MtpConfig = MtpConfig()
    multistage_config: MultistageConfig = MultistageConfig()
    lightpfp_ray: OwnConfig = OwnConfig()

    @property
    def pretrained(self) -> str:
        """Name of the pretrained potential, or ""."""
        return self.mtp_config.pretrained_model

    @property
    def starts_at(self) -> str:
        """The potential that the parameters start from; "": none, they are random."""
        return self.common_config.reload_model or self.pretrained

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages in order, calibration last; all of them again for each further member of a
        committee.
        """
        first = self._stages_of_one()
        others = (
            replace(stage, name=f"member_{member + 1}/{stage.name}", member=member)
            for member in range(1, self.lightpfp_ray.members)
            for stage in first
        )
        return (*first, *others)

    def _stages_of_one(self) -> tuple[Stage, ...]:
        common, multi = self.common_config, self.multistage_config
        calibrated = multi.use_calib_stage
        names = [f"stage_{number}" for number in range(1, len(multi.epoch_list) + 1)]
        none = (None,) * calibrated
        columns = (  # as the fields of Stage
            names + ["calibration"] * calibrated,
            self._epochs(),
            multi.lr_list + (multi.calibration_lr,) * calibrated,
            multi.energy_loss_coeff_list + none,
            multi.forces_loss_coeff_list + none,
            multi.stress_loss_coeff_list + none,
            multi.loss_func_list + multi.loss_func_list[-1:] * calibrated,
        )
        step = common.scheduler_step_size
        stages = tuple(
            Stage(
                *row,
                common.lr_scheduling,
                step_size(step, epochs=row[1]),
                optimizer=self.lightpfp_ray.optimizer,
            )
            for row in zip(*columns, strict=True)
        )
        return stages + self._polish(stages[-1])

    def _polish(self, last: Stage) -> tuple[Stage, ...]:
        """The end of a training of a linear readout: varpro with the coefficients of the last
        stage; none where it cannot be, or is what was done all along. (A potential to start from
        may have a network: `run.job_of` reads it.)
        """
        ours = self.lightpfp_ray
        network = self.mtp_config.nn_dim_list and not self.starts_at
        if network or ours.share_pairs or last.loss != "mse" or last.optimizer == "varpro":
            return ()
        if not ours.polish_epochs:
            return ()
        changes = {
            "name": POLISH,
            "epochs": ours.polish_epochs,
            "lr": 0.0,
            "scheduler": "None",
            "scheduler_step_size": 1,
            "optimizer": "varpro",
            "tolerance": POLISH_TOLERANCE,
        }
        return (replace(last, **changes),)

    def with_total_epoch(self, total: int) -> ControlFile:
        """The control file with another number of epochs."""
        tree = self.model_dump(mode="json", exclude_unset=True)
        tree.setdefault("common_config", {})["total_epoch"] = total
        return ControlFile.model_validate(tree)

    def _epochs(self) -> list[int]:
        """Epochs of every stage."""
        total, multi = self.common_config.total_epoch, self.multistage_config
        if total is not None:
            return split_epochs(total, multi.epoch_list, multi.use_calib_stage)
        return [*multi.epoch_list, *[multi.calibration_epoch] * multi.use_calib_stage]

    @property
    def notes(self) -> tuple[str, ...]:
        """What was given and is not used, one line each."""
        common, reasons = self.common_config, self._reasons_to_ignore()
        notes = [self._total_note()] if common.total_epoch is not None else []
        for section, (reason, keys) in reasons.items():
            given = [key for key in keys if key in getattr(self, section).model_fields_set]
            notes += [f"{reason}: {', '.join(given)} ignored"] if given else []
        if common.lr_scheduling == "None" and common.scheduler_step_size is not None:
            notes.append('lr_scheduling is "None": scheduler_step_size ignored')
        return tuple(filter(None, notes))

    def _total_note(self) -> str:
        """That total_epoch wins, where other epochs were given."""
        multi, epochs = self.multistage_config, self._epochs()
        listed = epochs[: len(multi.epoch_list)]
        beaten = []
        if "epoch_list" in multi.model_fields_set and [*multi.epoch_list] != listed:
            beaten.append(f"epoch_list {shown(multi.epoch_list)}")
        if multi.use_calib_stage and (
            "calibration_epoch" in multi.model_fields_set and multi.calibration_epoch != epochs[-1]
        ):
            beaten.append(f"calibration_epoch {multi.calibration_epoch}")
        if not beaten:
            return ""
        return (
            f"total_epoch {self.common_config.total_epoch} wins over {' and '.join(beaten)}: the "
            f"stages have {', '.join(map(str, epochs))} epochs"
        )

    def _reasons_to_ignore(self) -> dict[str, tuple[str, list[str]]]:
        """By section: why some of its options decide nothing, and which."""
        reasons = {}
        if self.pretrained:
            kept = ("model_version", "pretrained_model")
            ignored = [key for key in MtpConfig.model_fields if key not in kept]
            reasons["mtp_config"] = (f"pretrained_model is {self.pretrained}", ignored)
        if not self.multistage_config.use_calib_stage:
            ignored = ["calibration_lr", "calibration_epoch"]
            reasons["multistage_config"] = ("use_calib_stage is false", ignored)
        return reasons

    def resolved(self) -> dict[str, Any]:
        """The control file with every option that counts, as JSON; read again, it means the same.

        epoch_list and calibration_epoch are what total_epoch makes of them.
        """
        tree = self.model_dump(mode="json")
        multi, epochs = tree["multistage_config"], self._epochs()
        n_stages = len(multi["epoch_list"])
        multi["epoch_list"], multi["calibration_epoch"] = epochs[:n_stages], epochs[-1]
        for section, (_, keys) in self._reasons_to_ignore().items():
            for key in keys:
                del tree[section][key]
        return tree

    def fingerprint(self) -> str:
        """SHA-256 of what decides the result. total_epoch does so only by the epochs of stages."""
        tree = self.resolved()
        del tree["common_config"]["total_epoch"]
        for section in tree:
            for key, field in type(getattr(self, section)).model_fields.items():
                if (field.json_schema_extra or {}).get(DECIDES) is False:
                    del tree[section][key]
        return hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()


def load_control(path: Path, overrides: Sequence[str] = ()) -> ControlFile:
    """The control file at `path`, changed by overrides SECTION.KEY=VALUE (JSON, or else a string).

    Raises UserError with a line for each mistake: `FILE:LINE: key: found, expected, what to do`; of
    an override it begins with the override.
    """
    return parse_control(read_text(path), str(path), overrides)


def parse_control(text: str, name: str, overrides: Sequence[str] = ()) -> ControlFile:
    """As `load_control`, of a text that is called `name` in mistakes."""
    document = parse(text, name, overrides)
    mistakes = list(document.mistakes)
    try:
        control = ControlFile.model_validate(document.values)
    except ValidationError as error:
        mistakes += sentences(error.errors(), document, ControlFile.model_json_schema())
    if mistakes:
        raise UserError("\n".join(mistakes))
    return control
