"""The sweep file: which values of a control file are varied, how, and what is looked for.

    {"control_file": "small.json",
     "parameters": {"mtp_config.levmax": {"grid": [8, 12, 16]},
                    "multistage_config.lr_list": {"choice": [[0.1, 0.01], [0.05, 0.005]]}},
     "search": "grid", "scheduler": "asha", "objective": "test/forces_mae"}

Every trial's control file is checked before the first one begins; a mistake is named by the line
that it comes from.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from ..config import ControlFile
from ..config.mistakes import sentences, shown
from ..config.option import STRICT, AtLeast1, Seed, option
from ..config.text import Document, Keys, parse, read_text
from ..errors import UserError
from . import space
from .space import Choices, Point, Range, Space
from .trials import Trial, changed

MOST_PROBES = 1000
"""Combinations of a space that are checked one by one where a search decides which are tried."""

OF_THE_DATA = (
    "common_config.max_energy",
    "common_config.max_forces",
    "lightpfp_ray.test_fraction",
    "lightpfp_ray.max_volume_per_atom",
    "lightpfp_ray.min_distance",
    "lightpfp_ray.max_stress",
)
"""Keys by which structures are chosen: the same for all trials, else errors are not comparable."""

Objective = Literal[
    "test/energy_mae",
    "test/energy_rmse",
    "test/forces_mae",
    "test/forces_rmse",
    "test/stress_mae",
    "test/stress_rmse",
    "train/energy_mae",
    "train/energy_rmse",
    "train/forces_mae",
    "train/forces_rmse",
    "train/stress_mae",
    "train/stress_rmse",
]


class Options(BaseModel):
    """The keys of a sweep file."""

    model_config = STRICT

    control: dict[str, Any] | None = option(None, "The control file, as an object.")
    control_file: str | None = option(None, "Its path, from the folder of the sweep file.")
    parameters: dict[str, Any] = option({}, "Dotted key of the control file -> its values.")
    search: Literal["grid", "random", "optuna"] = option(
        "grid", "All combinations; combinations drawn at random; or chosen by what was found."
    )
    trials: AtLeast1 | None = option(None, "How many; for random and optuna.")
    seed: Seed = option(0, "Of the drawing of trials.")
    scheduler: Literal["asha"] | None = option(
        None, "asha: a trial in the worse half at a quarter or at half of its epochs is stopped."
    )
    objective: Objective = option("test/forces_mae", "What is to be small.")
    second_objective: Literal["us_per_atom"] | None = option(
        "us_per_atom", "What else is to be small: the time of a step of MD per atom on one core."
    )
    workers_per_trial: AtLeast1 = option(1, "Workers of Ray Train of each trial; 1: one process.")


@dataclass(frozen=True)
class Sweep:
    """A sweep file, valid: `trials` are known beforehand but for Optuna's."""

    options: Options
    base: dict[str, Any]  # tree of the control file
    space: Space
    trials: tuple[Trial, ...]  # of optuna: none

    @property
    def n_trials(self) -> int:
        return len(self.trials) or self.options.trials

    def trial(self, point: Point) -> Trial:
        """The trial of a point. Raises UserError where its values contradict each other."""
        try:
            return Trial.of(self.base, point)
        except ValidationError as error:
            document = Document(changed(self.base, point), {(): "trial"})
            schema = ControlFile.model_json_schema()
            raise UserError("; ".join(sentences(error.errors(), document, schema))) from None

    @property
    def samples(self) -> tuple[ControlFile, ...]:
        """Control files of all trials; of Optuna's, some that hold every choice and both ends of
        every range.
        """
        points = space.one_at_a_time(self.space)
        trials = self.trials or [Trial.of(self.base, point) for point in points]
        return tuple(trial.control for trial in trials)


def load_sweep(path: Path) -> Sweep:
    """The sweep at `path`. Raises UserError with a line for each mistake, FILE:LINE first."""
    document = parse(read_text(path), str(path))
    options = _options(document)
    base = _base(document, options, path)
    found, mistakes = _space(document, options)
    mistakes += _wrong_counts(document, options, found)
    if mistakes:
        raise UserError("\n".join(mistakes))
    points = _points(options, found)
    _refuse_wrong_values(document, base, found, points)
    trials = () if options.search == "optuna" else tuple(Trial.of(base.values, p) for p in points)
    return Sweep(options, base.values, found, trials)


def _options(document: Document) -> Options:
    mistakes = list(document.mistakes)
    try:
        options = Options.model_validate(document.values)
    except ValidationError as error:
        mistakes += sentences(error.errors(), document, Options.model_json_schema())
    if mistakes:
        raise UserError("\n".join(mistakes))
    return options


def _base(document: Document, options: Options, path: Path) -> Document:
    """The control file that is varied, with the places of its keys."""
    if (options.control is None) == (options.control_file is None):
        raise UserError(
            f"{document.place(())}: found {'none' if options.control is None else 'both'} of "
            "control and control_file, expected one of them: give the control file as an object, "
            "or its path; {} is a valid control"
        )
    if options.control is not None:
        places = {keys[1:]: p for keys, p in document.places.items() if keys[:1] == ("control",)}
        return Document(options.control, places)
    file = path.parent / options.control_file
    return parse(read_text(file), str(file))


def _space(document: Document, options: Options) -> tuple[dict[str, Choices | Range], list[str]]:
    found, mistakes = {}, []
    for key, given in options.parameters.items():
        place = document.place(("parameters", key))
        domain = _domain(given)
        if isinstance(domain, str):
            mistakes.append(f"{place}: {key}: {domain}")
        elif key in OF_THE_DATA:
            mistakes.append(
                f"{place}: {key}: decides which structures there are, expected a key of the "
                "training: give it one value in the control file"
            )
        elif isinstance(domain, Range) and options.search == "grid":
            mistakes.append(
                f'{place}: {key}: found a range, expected a list for search "grid": list values, '
                'or search "random"'
            )
        else:
            found[key] = domain
    if not options.parameters:
        mistakes.append(
            f"{document.place(('parameters',))}: parameters: found none, expected at least one "
            'key, as "mtp_config.levmax": {"grid": [8, 12, 16]}: add one'
        )
    return found, mistakes


def _domain(given: Any) -> Choices | Range | str:
    """Of what stands at a parameter; a sentence where it is none."""
    kinds = ("grid", "choice", "uniform", "log_uniform")
    if not isinstance(given, dict) or len(given) != 1 or next(iter(given)) not in kinds:
        return (
            f'found {shown(given)}, expected one of {{"grid": [...]}}, {{"choice": [...]}}, '
            '{"uniform": [low, high]}, {"log_uniform": [low, high]}: write one of them'
        )
    ((kind, values),) = given.items()
    if not isinstance(values, list) or not values:
        return f"{kind}: found {shown(values)}, expected a list of values: give it some"
    if kind in ("grid", "choice"):
        return Choices(tuple(v for i, v in enumerate(values) if v not in values[:i]))
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in values)
    if len(values) != 2 or not numbers or not values[0] < values[1]:
        return f"{kind}: found {shown(values)}, expected [low, high]: give two numbers"
    if kind == "log_uniform" and values[0] <= 0:
        return f"{kind}: found {shown(values)}, expected numbers above 0: raise the lower one"
    return Range(float(values[0]), float(values[1]), kind == "log_uniform")


def _wrong_counts(document: Document, options: Options, found: Space) -> Iterator[str]:
    if options.search != "grid" and options.trials is None:
        yield (
            f"{document.place(('search',))}: trials: found none, expected how many for search "
            f'"{options.search}": give it'
        )
    if options.search == "grid" and options.trials is not None:
        yield (
            f'{document.place(("trials",))}: trials: found {options.trials}, but search "grid" '
            'tries all combinations: leave it out, or search "random"'
        )


def _points(options: Options, found: Space) -> list[Point]:
    """The points to try, or of Optuna those to check."""
    if options.search == "grid":
        return list(space.grid(found))
    if options.search == "random":
        return list(space.drawn(found, options.trials, options.seed))
    few = space.n_combinations(found) <= MOST_PROBES
    return list(space.grid(found) if few else space.one_at_a_time(found))


def _refuse_wrong_values(
    document: Document, base: Document, found: Space, points: list[Point]
) -> None:
    """Raise UserError where the control file of a point is not valid: each mistake once."""
    schema = ControlFile.model_json_schema()
    mistakes: dict[str, None] = dict.fromkeys(base.mistakes)
    for point in [*space.one_at_a_time(found), *points]:
        tree = changed(base.values, point)
        try:
            ControlFile.model_validate(tree)
        except ValidationError as error:
            places = base.places | dict(_places(document, found, point))
            lines = sentences(error.errors(), Document(tree, places), schema)
            mistakes |= dict.fromkeys(lines)
    if mistakes:
        raise UserError("\n".join(mistakes))


def _places(document: Document, found: Space, point: Point) -> Iterator[tuple[Keys, str]]:
    """Where the values of a point stand in the sweep file, by their keys in the control file."""
    for key, value in point.items():
        at: Keys = ("parameters", key)
        ((kind, values),) = document.values["parameters"][key].items()
        if isinstance(found[key], Choices):
            at = (*at, kind, values.index(value))
        keys = tuple(key.split("."))
        yield keys, document.place(at)
        for inner in value if isinstance(value, dict) else ():
            yield (*keys, inner), document.place((*at, inner))


def as_text(sweep: Sweep) -> str:
    """The sweep as JSON, with everything that was left out filled in."""
    options = sweep.options.model_dump(mode="json")
    options |= {"control": sweep.base}
    del options["control_file"]
    return json.dumps(options, indent=2) + "\n"
