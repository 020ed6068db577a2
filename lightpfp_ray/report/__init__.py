"""report.html: one page that tells what was asked, what was learned from, and how well.

It stands by itself: pictures are inside, nothing is fetched.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from ..comparison import Comparison
from ..evaluation import SCALES
from ..files import write_atomically
from ..html_page import Cell, folded, heading, page, paragraph, picture, shown, table
from ..journal import records
from ..output import OutputFolder
from . import plots

WORST = 10
"""Structures that are named for their errors."""

MOST_GROUPS = 12
"""Groups with a panel of their own; the others are in the table."""

Errors = Mapping[str, float | int | None]
"""energy_mae, energy_rmse, ... in eV/atom, eV/A, eV/A^3; structures."""


def write_report(
    output: OutputFolder,
    metrics: Mapping[str, Errors],
    compared: Mapping[str, Comparison],
    facts: Mapping[str, Cell] | None = None,
    references: Mapping[str, Errors] | None = None,
    self_check: Mapping[str, Mapping[str, float]] | None = None,
) -> None:
    """Write report.html of a run whose control file, manifest and journal are in the folder.

    `metrics`: errors of the whole sets by split; `compared`: structures of each set, of which the
    parity plots and the worst are shown; `facts`: what else is worth a line, as workers and
    versions; `references`: errors of others on the test set, by name; `self_check`: what
    `selfcheck.self_check` found.
    """
    control = json.loads(output.control.read_text())
    manifest = json.loads(output.data.read_text())
    journal = records(output.journal)
    elements = " ".join(chemical_symbols[z] for z in manifest["elements"])
    kept = manifest["kept"]
    sections = [
        ("errors", "Errors", _errors(metrics, references or {})),
        ("asked", "What was asked", _asked(control, journal)),
        ("data", "Data", _data(manifest, compared)),
        ("losses", "Losses", _losses(journal)),
        ("parity", "Parity", _parity(compared)),
        ("groups", "By group and element", _by_group_and_element(compared)),
        ("worst", "Worst structures", _worst(compared)),
        ("check", "Self-check", _self_check(self_check)),
        ("cost", "Cost", _cost(journal, manifest, facts or {})),
    ]
    subtitle = (
        f"{elements}, {kept['train']:,} training and {kept['test']:,} test structures, finished "
        f"{time.strftime('%Y-%m-%d %H:%M', time.localtime(journal[-1]['time']))}"
    )
    html = page(f"Training of {output.path.name}", subtitle, sections)
    write_atomically(output.report, html.encode())


def _errors(metrics: Mapping[str, Errors], references: Mapping[str, Errors]) -> str:
    named = {**{_SET[split]: found for split, found in metrics.items()}, **references}
    rows = [[name, found.get("structures"), *_cells(found)] for name, found in named.items()]
    return table(["", "structures", *_KINDS], rows) + paragraph(_UNITS, "quiet")


_KINDS = [f"{label} {kind}" for label in SCALES for kind in ("MAE", "RMSE")]
_UNITS = f"Units: {', '.join(f'{k} {plots.shown(unit)}' for k, (_, unit) in SCALES.items())}."
_SET = {"train": "training set", "test": "test set"}


def _cells(found: Errors) -> Iterator[float | None]:
    for label, (scale, _) in SCALES.items():
        for kind in ("mae", "rmse"):
            value = found.get(f"{label}_{kind}")
            yield None if value is None else scale * value


def _asked(control: Mapping[str, Any], journal: Sequence[Mapping[str, Any]]) -> str:
    head = ["stage", "epochs", "learning rate", *(f"{k} coefficient" for k in SCALES), "loss"]
    start = control["common_config"]["reload_model"] or control["mtp_config"].get(
        "pretrained_model"
    )
    potential = f"that of {start}, trained further" if start else _size(control["mtp_config"])
    members = control.get("lightpfp_ray", {}).get("members", 1)  # not in older files
    potential += (
        f", the mean of {members}, each from radial functions of its own" if members > 1 else ""
    )
    return (
        table(head, _stages(control["multistage_config"], journal))
        + paragraph(f"Potential: {potential}.")
        + "".join(paragraph(f"Note: {r['text']}.") for r in journal if r["type"] == "note")
        + folded("the whole control file, resolved", json.dumps(control, indent=2))
    )


def _size(mtp: Mapping[str, Any]) -> str:
    chosen = ("rc", "levmax", "n_q", "moment_init_cost", "moment_mu_cost", "moment_nu_cost")
    size = ", ".join(f"{key} {mtp[key]}" for key in chosen)
    widths = mtp["nn_dim_list"]
    return f"{size}, " + (f"neural readout {widths}" if widths else "linear readout")


def _stages(config: Mapping[str, Any], journal: Sequence[Mapping[str, Any]]) -> Iterator[list]:
    """A row for each stage, the calibration with the coefficients that it found."""
    lists = [
        config[f"{name}_list"]
        for name in (
            "epoch",
            "lr",
            "energy_loss_coeff",
            "forces_loss_coeff",
            "stress_loss_coeff",
            "loss_func",
        )
    ]
    for n, values in enumerate(zip(*lists, strict=True), start=1):
        yield [f"stage {n}", *values]
    coefficients, last = values[2:-1], values[-1]
    if config["use_calib_stage"]:
        found = next((r for r in reversed(journal) if r["type"] == "calibration"), {})
        coefficients = [found.get(f"{label}_coeff") for label in SCALES]
        yield [
            "calibration",
            config["calibration_epoch"],
            config["calibration_lr"],
            *coefficients,
            last,
        ]
    polish = [r for r in journal if r.get("stage", "").endswith("polish")]
    if polish:
        made = sum(r["type"] == "epoch" for r in polish)
        kept = made - sum(r.get("taken_back", 0) for r in polish)
        yield ["polish", kept, None, *coefficients, last]


def _data(manifest: Mapping[str, Any], compared: Mapping[str, Comparison]) -> str:
    head = ["", "structures", "atoms", *(f"without {label}" for label in SCALES)]
    rows = [
        [
            _SET[split],
            manifest["kept"][split],
            manifest["n_atoms"][split],
            *(manifest["missing"][split][label] for label in SCALES),
        ]
        for split in compared
    ]
    shortest = manifest["min_distance"]
    notes = [f"Shortest distance {shortest:.4g} Å." if shortest else ""]
    if manifest["duplicates_across"]:
        notes.append(
            f"{manifest['duplicates_across']} test structures are also in the training set."
        )
    files = "\n".join(f"{digest[:12]}  {path}" for path, digest in manifest["files"].items())
    return (
        table(head, rows)
        + paragraph(" ".join(filter(None, notes)))
        + _skipped(manifest)
        + folded("the files, with the sha256 of their content", files)
    )


def _skipped(manifest: Mapping[str, Any]) -> str:
    if not manifest["skipped"]:
        return paragraph("No structure was skipped.")
    examples: dict[str, list[str]] = {}
    for source, reason in manifest["skipped_examples"]:
        examples.setdefault(reason, []).append(source)
    rows = [
        [reason, n, ", ".join(examples.get(reason, [])[:3])]
        for reason, n in sorted(manifest["skipped"].items())
    ]
    return heading("Skipped") + table(["reason", "structures", "as"], rows)


def _losses(journal: Sequence[Mapping[str, Any]]) -> str:
    return picture(
        plots.losses(journal),
        "Loss and mean absolute errors over the epochs. Vertical lines are the borders of stages, "
        "at which the loss changes its meaning.",
    )


def _parity(compared: Mapping[str, Comparison]) -> str:
    shares = [
        f"{len(found.sources):,} of {found.n_structures:,} {split}"
        for split, found in compared.items()
    ]
    return picture(
        plots.parity(compared), f"Prediction over reference; {' and '.join(shares)} structures."
    ) + picture(plots.histograms(compared), "Prediction less reference, counts on a log scale.")


def _by_group_and_element(compared: Mapping[str, Comparison]) -> str:
    """Of the test set; of the training set where nothing is tested."""
    split = "test" if len(compared["test"].sources) else "train"
    found = compared[split]
    html = paragraph(f"Errors on the {_SET[split]}. {_UNITS}")
    groups = sorted(set(found.groups), key=lambda g: (-(found.groups == g).sum(), g))
    if groups != [""]:
        html += _groups({g or "no group": found.of_structures(found.groups == g) for g in groups})
    return html + _elements(found)


def _groups(parts: Mapping[str, Comparison]) -> str:
    rows = [[name, len(part.sources), *_all_mae_rmse(part)] for name, part in parts.items()]
    html = heading("Groups") + table(["group", "structures", *_KINDS], rows)
    drawn = dict(list(parts.items())[:MOST_GROUPS])
    forces = {group: _present(part.forces) for group, part in drawn.items()}
    energies = {group: _present(part.energy) for group, part in drawn.items()}
    return (
        html
        + picture(plots.energies_by_group(energies), "Energies by group, and their errors.")
        + picture(
            plots.parity_by("forces", forces), "Force components by group; in brackets how many."
        )
    )


def _elements(found: Comparison) -> str:
    parts = {
        chemical_symbols[z]: _present(found.forces_A32[found.numbers_A == z].reshape(-1, 2))
        for z in np.unique(found.numbers_A).tolist()
    }
    rows = [[name, len(rows) // 3, *_mae_rmse("forces", rows)] for name, rows in parts.items()]
    head = ["element", "atoms with forces", "forces MAE", "forces RMSE"]
    html = heading("Elements") + table(head, rows)
    if len(parts) > 1:
        caption = "Force components by element; in brackets how many."
        html += picture(plots.parity_by("forces", parts), caption)
    return html


def _all_mae_rmse(part: Comparison) -> list[float | None]:
    rows = zip(SCALES, (part.energy, part.forces, part.stress), strict=True)
    return [value for label, values in rows for value in _mae_rmse(label, _present(values))]


def _mae_rmse(label: str, rows: np.ndarray) -> list[float | None]:
    """MAE and RMSE of (reference, prediction) rows in the units that people read."""
    if not len(rows):
        return [None, None]
    errors = SCALES[label][0] * (rows[:, 1] - rows[:, 0])
    return [float(np.abs(errors).mean()), float(np.sqrt((errors**2).mean()))]


def _present(rows: np.ndarray) -> np.ndarray:
    return rows[~np.isnan(rows[:, 0])]


def _worst(compared: Mapping[str, Comparison]) -> str:
    """The structures with the largest force errors, and those with the largest energy errors."""
    html = ""
    for what, errors in (("forces", Comparison.force_errors_S), ("energy", _energy_errors_S)):
        candidates = [
            (float(error), split, found, n)
            for split, found in compared.items()
            for n, error in enumerate(errors(found))
            if not np.isnan(error)
        ]
        candidates.sort(key=lambda c: -c[0])
        if candidates:
            rows = [_structure_row(*c[1:]) for c in candidates[:WORST]]
            html += heading(f"Largest errors of {what}") + table(_STRUCTURE_HEAD, rows)
    if not html:
        return paragraph("No structure has energies or forces.")
    return paragraph("Errors of energy in meV/atom, of forces in meV/Å.") + html


_STRUCTURE_HEAD = [
    "file and index",
    "set",
    "group",
    "formula",
    "energy error",
    "force RMSE",
    "largest of a force",
]


def _energy_errors_S(found: Comparison) -> np.ndarray:
    return np.abs(found.energy_S2[:, 1] - found.energy_S2[:, 0])


def _structure_row(split: str, found: Comparison, n: int) -> list[Cell]:
    one = found.of_structures(np.arange(len(found.sources)) == n)
    energy = one.energy_S2[0, 1] - one.energy_S2[0, 0]
    largest = np.linalg.norm(one.forces_A32[..., 1] - one.forces_A32[..., 0], axis=1).max()
    figures = (energy, one.force_errors_S()[0], largest)
    (formula,) = one.formulas()
    return [one.sources[0], split, one.groups[0], formula, *(1e3 * float(x) for x in figures)]


def _self_check(found: Mapping[str, Mapping[str, float]] | None) -> str:
    if found is None:
        return paragraph("Not made.")
    rows = [[name, d["energy"], d["forces"]] for name, d in found.items()]
    return paragraph(
        "The trained model, its saved folder, the calculator and the exported file on held-out "
        "structures: largest differences to the training loop's own results."
    ) + table(["of", "energy (eV/atom)", "forces (eV/Å)"], rows)


def _cost(
    journal: Sequence[Mapping[str, Any]], manifest: Mapping[str, Any], facts: Mapping[str, Cell]
) -> str:
    epochs = [r for r in journal if r["type"] == "epoch"]
    updates = sum(r["seconds"] for r in epochs)
    atoms = manifest["n_atoms"]["train"]
    rows: list[list[Cell]] = [
        ["epochs", len(epochs)],
        ["from the first record to the last (s)", journal[-1]["time"] - journal[0]["time"]],
        ["in updates (s)", updates],
        ["an epoch's updates, mean (s)", updates / max(len(epochs), 1)],
        ["µs per atom and epoch", 1e6 * updates / max(len(epochs) * atoms, 1)],
    ]
    return table(["", ""], [[name, shown(value)] for name, value in [*rows, *facts.items()]])
