"""The options of a control file: each with its type, limits, default, unit and meaning.

A new option is one line here: the check, the JSON Schema and the resolved file follow from it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from ..zoo.models import NAMES
from .mistakes import shown
from .option import (
    AtLeast0,
    AtLeast1,
    NotNegative,
    Positive,
    Section,
    Seed,
    list_option,
    option,
)

MOST_MOMENTS = 12
"""In a basis function: levmax 24 where moment_init_cost is 2."""

Loss = Literal["mse", "l1"]
PRETRAINED, PATH = ("", *NAMES), r"[/.\\]"


def _named_or_path(value: Any) -> Any:
    """A name of the zoo, or what can be a path: it has a slash or a point."""
    if value is None:
        return ""
    if isinstance(value, str) and (value in PRETRAINED or re.search(PATH, value)):
        return value
    raise ValueError("no such name")


Pretrained = Annotated[
    str,
    BeforeValidator(_named_or_path),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(PRETRAINED), "type": "string"},
                {"type": "string", "format": "path", "pattern": PATH},
                {"type": "null"},
            ]
        }
    ),
]


class CommonConfig(Section):
    """The run as a whole, and which structures it takes."""

    total_epoch: AtLeast1 | None = option(
        None,
        "Epochs of the whole run. Of two stages and calibration: 0.25 : 0.5 : 0.25; without "
        "calibration 1 : 2; of another number of stages, calibration a quarter, the stages in "
        "proportion to epoch_list. Wins over epoch_list and calibration_epoch. null: not used.",
    )
    batch_size: AtLeast1 = option(
        128, "Training structures of a parameter update, over all workers together."
    )
    reload_model: Annotated[str | None, AfterValidator(lambda name: name or None)] = option(
        None,
        "Potential that the parameters start from, in place of mtp_config: a folder, a .mtp or "
        ".almtp file, an MLflow run ID or a model URI. "
        'null or "": random parameters.',
    )
    lr_scheduling: Literal["step", "linear_warmup", "None"] = option(
        "linear_warmup",
        "Learning rate within each stage, calibration too. step: 0.9 times after every "
        "scheduler_step_size epochs; linear_warmup: up to the stage's rate in "
        'scheduler_step_size epochs, then linear to 0 at its end; "None": constant.',
    )
    scheduler_step_size: AtLeast1 | None = option(
        None,
        "Step size of the scheduler. null: a 25th of each stage's epochs, rounded down, at least "
        "1.",
        "epochs",
    )
    max_energy: float = option(
        1e38, "A structure of more energy (signed) is skipped.", "eV per atom"
    )
    max_forces: Positive = option(
        1e38, "A structure is skipped where the force on an atom is larger.", "eV/A"
    )


class MtpConfig(Section):
    """The potential. Defaults from rc to the costs are unknown of LightPFP, and are ours: those of
    its SMALL models.
    """

    model_version: Literal["v1.0"] = option("v1.0", "Version of the potential's form.")
    pretrained_model: Pretrained = option(
        "",
        "Potential from which the coefficients of the species at hand are taken, by name, or by "
        "the path of its folder or .mtp file; every other option of this section but "
        'model_version is then ignored. "" or null: none.',
    )
    rc: Positive = option(6.0, "Cutoff: the largest distance of neighbors.", "A")
    levmax: AtLeast1 = option(
        8, "Largest level of a basis function, the sum of the levels of its moments."
    )
    n_q: AtLeast1 = option(8, "Chebyshev polynomials of a radial function.")
    moment_init_cost: AtLeast1 = option(
        2, "Level of a moment M(mu, nu) = moment_init_cost + moment_mu_cost mu + moment_nu_cost nu."
    )
    moment_mu_cost: AtLeast1 = option(1, "See moment_init_cost; mu numbers the radial functions.")
    moment_nu_cost: AtLeast1 = option(1, "See moment_init_cost; nu is the rank of the tensor.")
    nn_dim_list: tuple[AtLeast1, ...] = list_option(
        (), "Neurons of each hidden layer of the readout; []: a linear readout.", least=0
    )

    @classmethod
    def contradictions(
        cls, values: Mapping[str, Any], wrong: set[str]
    ) -> Iterator[tuple[str, str]]:
        if wrong & {"levmax", "moment_init_cost", "pretrained_model"} or values["pretrained_model"]:
            return
        cost, levmax = values["moment_init_cost"], values["levmax"]
        if levmax < cost:
            yield (
                "levmax",
                f"found {shown(levmax)}, expected at least moment_init_cost {shown(cost)}, else "
                "there is no basis function: raise it",
            )
        if levmax > MOST_MOMENTS * cost:
            yield (
                "levmax",
                f"found {shown(levmax)}, expected at most {MOST_MOMENTS} times moment_init_cost "
                f"{shown(cost)}, since the basis would have too many functions to be made: lower "
                "it",
            )


class MultistageConfig(Section):
    """The stages: lists of equal length, one entry a stage, and calibration after them."""

    LISTS: ClassVar = (
        "lr_list",
        "epoch_list",
        "energy_loss_coeff_list",
        "forces_loss_coeff_list",
        "stress_loss_coeff_list",
        "loss_func_list",
    )

    lr_list: tuple[Positive, ...] = list_option((0.1, 0.01), "Learning rate of Adam.")
    epoch_list: tuple[AtLeast0, ...] = list_option((80, 160), "Passes over the training set.")
    energy_loss_coeff_list: tuple[NotNegative, ...] = list_option(
        (1e-05, 1.0), "Weight of the energy loss.", "per (eV/atom)^2, of l1 per eV/atom"
    )
    forces_loss_coeff_list: tuple[NotNegative, ...] = list_option(
        (10.0, 0.1), "Weight of the forces loss.", "per (eV/A)^2, of l1 per eV/A"
    )
    stress_loss_coeff_list: tuple[NotNegative, ...] = list_option(
        (1e-05, 10.0), "Weight of the stress loss.", "per (eV/A^3)^2, of l1 per eV/A^3"
    )
    loss_func_list: tuple[Loss, ...] = list_option(
        ("mse", "mse"), "Mean of squared (mse) or absolute (l1) errors."
    )
    use_calib_stage: bool = option(
        True,
        "Add a last stage whose weights are set so that energy, forces and stress contribute "
        "equally; its loss function is that of the last entry of loss_func_list.",
    )
    calibration_lr: Positive = option(0.01, "Learning rate of the calibration stage.")
    calibration_epoch: AtLeast0 = option(80, "Passes of the calibration stage.")

    @classmethod
    def contradictions(
        cls, values: Mapping[str, Any], wrong: set[str]
    ) -> Iterator[tuple[str, str]]:
        lengths = {k: len(values[k]) for k in cls.LISTS if isinstance(values[k], list | tuple)}
        if len(set(lengths.values())) > 1:
            found = ", ".join(f"{key} has {length}" for key, length in lengths.items())
            yield (
                min(lengths, key=lambda key: lengths[key] == len(cls.model_fields[key].default)),
                f"lists of unequal length found ({found}), expected one entry a stage in each: "
                "give all of them the same length",
            )
        if "epoch_list" not in wrong:
            yield from _epoch_contradictions(values, wrong)
        coefficients = [key for key in cls.LISTS if "coeff" in key]
        if not wrong & {*coefficients}:
            rows = zip(*(values[key] for key in coefficients), strict=False)
            for stage, row in enumerate(rows, start=1):
                if not any(row):
                    yield (
                        coefficients[0],
                        f"stage {stage} has coefficients 0, 0, 0, expected one above 0: give it "
                        "one",
                    )


def _epoch_contradictions(values: Mapping[str, Any], wrong: set[str]) -> Iterator[tuple[str, str]]:
    epochs = values["epoch_list"]
    if not any(epochs):
        yield "epoch_list", f"found {shown(epochs)}, expected epochs in some stage: give it some"
    elif (
        not epochs[-1]
        and not wrong & {"use_calib_stage", "calibration_epoch"}
        and values["use_calib_stage"]
        and values["calibration_epoch"]
    ):
        yield (
            "epoch_list",
            "the last stage has 0 epochs, expected at least 1, since calibration takes its "
            "coefficients from that stage's losses: give it some, or set use_calib_stage to false",
        )


class OwnConfig(Section):
    """What LightPFP does not offer."""

    seed: Seed = option(0, "Of every random choice: split, start, order of structures.")
    test_fraction: float = option(
        0.1, "Part of the structures that is tested on; not used with --test-data.", ge=0, lt=1
    )
    max_volume_per_atom: Positive | None = option(
        None, "A periodic structure above it is skipped; null: none.", "A^3"
    )
    min_distance: Positive | None = option(
        None, "A structure with atoms closer than it is skipped; null: 0.1 A.", "A"
    )
    max_stress: Positive | None = option(
        None, "A structure with a larger stress component is skipped; null: none.", "eV/A^3"
    )
    precision: Literal["float64", "float32"] = option(
        "float64", "Of the parameters and the arithmetic."
    )
    checkpoint_interval_s: NotNegative = option(
        30.0, "Time between two checkpoints within a stage.", "s", decides=False
    )
    optimizer: Literal["adam", "varpro"] = option(
        "adam",
        "adam: updates of batches, with the learning rates of the stages. varpro: least squares of "
        "all linear coefficients and a quasi-Newton step of the radial ones, an epoch being one "
        "such step over the whole set; for a linear readout and mse.",
    )
    polish_epochs: AtLeast0 = option(
        60,
        "At most so many epochs of varpro end a training by adam of a linear readout, beside the "
        "epochs of the stages and with the coefficients of the last of them, whose loss is mse; "
        "fewer where five of them lower the loss by less than 3 %, which are taken back. 0: none.",
        "epochs",
    )
    starts: AtLeast1 = option(
        8,
        "Random radial functions that are tried by a short varpro on 32 structures; the best go on "
        "with more of them, and stage 1 begins at the best of these. Of a potential with a linear "
        "readout that the training begins at, its own are one more; a network is given up if the "
        "best does clearly better on structures left out (with six or more, and no share_pairs). "
        "1: no search.",
    )
    share_pairs: bool = option(
        False,
        "The radial functions of a pair of species share a part of each of the two, in units of "
        "the sum of their covalent radii, so that rare pairs learn from the others; for many "
        "species, and adam. Starts are not searched for.",
    )
    whitening: bool = option(
        True, "Optimize in coordinates in which the loss of a stage is round, not the coefficients."
    )
    least_squares_start: bool = option(
        True, "Stage 1 begins with the least squares of all linear coefficients."
    )
    least_squares_stages: bool = option(
        True, "So does every other stage but calibration, and the last one ends with them."
    )
    weight_decay: NotNegative = option(
        20.0,
        "Of the weights of a network's layers (AdamW): all updates of a training together take "
        "away this times the learning rate, each as much as the others. A linear readout has none.",
    )
    members: AtLeast1 = option(
        1,
        "Potentials of a committee: each goes through all stages, from a start of its own. What is "
        "trained is their mean: one potential of this times the basis functions, and of this times "
        "the cost.",
    )
    early_stopping: AtLeast1 | None = option(
        None,
        "A stage ends when the test loss has not fallen for so many epochs, at its best one; null: "
        "never.",
        "epochs",
    )
    group_weights: dict[str, Any] = option(
        {},
        "Weights in the loss by name of a group (config_type of extxyz): one number, or three for "
        "energy, forces and stress. They multiply the weights of the structures.",
    )

    @classmethod
    def contradictions(
        cls, values: Mapping[str, Any], wrong: set[str]
    ) -> Iterator[tuple[str, str]]:
        if "group_weights" in wrong:
            return
        for name, given in values["group_weights"].items():
            weights = given if isinstance(given, list | tuple) and len(given) == 3 else [given]
            numbers = [w for w in weights if isinstance(w, int | float) and not isinstance(w, bool)]
            if len(numbers) < len(weights) or min(numbers) < 0 or math.inf in numbers:
                yield (
                    "group_weights",
                    f"{shown(name)} has {shown(given)}, expected a number, or three for energy, "
                    "forces and stress, none below 0: correct it",
                )
