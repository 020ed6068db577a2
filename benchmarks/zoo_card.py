"""The card of a pretrained model: what it was made of, its errors by class and by element, and what
it cannot do; as Markdown with a picture, and as the values that `lightpfp-ray models` shows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols

from lightpfp_ray.batch import Batch
from lightpfp_ray.data.collate import batch_from_structures
from lightpfp_ray.data.read import read_structures
from lightpfp_ray.data.structure import Structure
from lightpfp_ray.evaluation import BLOCK, SCALES, evaluate
from lightpfp_ray.mtp.model import MTP
from lightpfp_ray.potential import Potential, restricted
from lightpfp_ray.speed import us_per_atom
from lightpfp_ray.teachers import Teacher

TABLE = """
H                                                  He
Li Be                               B  C  N  O  F  Ne
Na Mg                               Al Si P  S  Cl Ar
K  Ca Sc Ti V  Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr
Rb Sr Y  Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I  Xe
Cs Ba La Hf Ta W  Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn
Fr Ra Ac
         Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu
         Th Pa U  Np Pu
"""

CELL = 38
"""Pixels of an element."""

LIMITS = """- The labels are the teacher's, with its errors: it cannot be better than that.
- One set of linear coefficients serves all elements: errors are several times those of a potential
  that is trained for the material. It is a start for a training (`pretrained_model`) more than a
  potential to simulate with.
- Pairs of elements that no structure holds side by side have the radial functions that the two
  species share with all others.
- Charges, magnetism and spin are not seen; nothing beyond the cutoff is.
"""


@dataclass(frozen=True)
class InMemory:
    """Structures as `us_per_atom` draws them."""

    structures: Sequence[Structure]
    cutoff: float

    def __len__(self) -> int:
        return len(self.structures)

    @property
    def counts(self) -> InMemory:
        return self

    @property
    def n_atoms(self) -> np.ndarray:
        return np.array([len(s.numbers) for s in self.structures])

    def batch(self, indices: np.ndarray) -> Batch:
        return batch_from_structures([self.structures[i] for i in indices], self.cutoff)


def write_card(
    name: str,
    potential: Potential,
    test_files: Sequence[Path],
    teacher: Teacher,
    facts: Mapping[str, Any],
    folder: Path,
) -> dict[str, Any]:
    """Write NAME.md and NAME.svg into a folder; the values of the card."""
    model = potential.model
    test = [
        s
        for file in test_files
        for s in read_structures(file)
        if np.linalg.norm(s.forces, axis=1).max() <= facts["max_forces"]
    ]
    card = {
        "teacher": {k: getattr(teacher, k) for k in ("name", "version", "licence")},
        "elements": [chemical_symbols[z] for z in sorted(model.species)],
        "cutoff": model.cutoff,
        "parameters": _parameters(model),
        "parameters_of_one": _parameters(restricted(model, model.species[:1])),
        "us_per_atom": us_per_atom(model, InMemory(test, model.cutoff)),
        "test": {"all": _errors(model, test)}
        | {group: _errors(model, some) for group, some in _by_group(test).items()},
        "forces_mae_by_element": _by_element(model, test),
        **facts,
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.svg").write_text(_picture(card["forces_mae_by_element"]))
    (folder / f"{name}.md").write_text(_text(name, card))
    return card


def _parameters(model: MTP) -> int:
    return sum(p.numel() for p in model.parameters())


def _batches(model: MTP, structures: Sequence[Structure]):
    for start in range(0, len(structures), BLOCK):
        yield batch_from_structures(structures[start : start + BLOCK], model.cutoff)


def _errors(model: MTP, structures: Sequence[Structure]) -> dict[str, Any]:
    return evaluate(model, _batches(model, structures))


def _by_group(structures: Sequence[Structure]) -> dict[str, list[Structure]]:
    found = defaultdict(list)
    for structure in structures:
        found[structure.group].append(structure)
    return dict(sorted(found.items()))


def _by_element(model: MTP, structures: Sequence[Structure]) -> dict[str, float]:
    """MAE of force components of the atoms of each element, eV/A."""
    missing = defaultdict(list)
    for batch in _batches(model, structures):
        error_A = (model(batch).forces_A3.detach() - batch.forces_A3).abs().mean(1)
        for number, error in zip(batch.numbers_A.tolist(), error_A.tolist(), strict=True):
            missing[number].append(error)
    return {chemical_symbols[z]: float(np.mean(missing[z])) for z in sorted(missing)}


def _text(name: str, card: Mapping[str, Any]) -> str:
    teacher, hours = card["teacher"], card["cpu_hours"]
    head = (
        "| class | structures | E MAE / RMSE meV/atom | F meV/A | S meV/A^3 |\n" + "|---" * 5 + "|"
    )
    rows = "\n".join(_row(group, found) for group, found in card["test"].items())
    lost = ", ".join(f"{reason} {n}" for reason, n in card["not_labelled"].items()) or "none"
    said = "\n".join(f"- {line}" for line in card["structures"])
    return f"""# {name}

{len(card["elements"])} elements, cutoff {card["cutoff"]:g} A, {card["parameters"]} parameters
({card["parameters_of_one"]} for a single element), {card["us_per_atom"]:.2f} us an atom on one
core for energy, forces and stress. Written by `benchmarks/zoo.py {name}`.

## Data

Labels: {teacher["name"]} {teacher["version"]}. Licence of the teacher: {teacher["licence"]}.

{said}
- structures that the teacher gave no label: {lost}
- left out in training and below: those with a force above {card["max_forces"]:g} eV/A
- {card["epochs"]} epochs of `configs/zoo/{name}.json`
- CPU hours: labels {hours["labels"]:.2f}, training {hours["training"]:.2f}; seed {card["seed"]}

## Errors against the teacher, on structures left out

{head}
{rows}

![MAE of forces by element]({name}.svg)

## Limits

{LIMITS}"""


def _row(group: str, found: Mapping[str, Any]) -> str:
    cells = []
    for label, (scale, _) in SCALES.items():
        pair = [found[f"{label}_{kind}"] for kind in ("mae", "rmse")]
        cells.append("-" if None in pair else " / ".join(f"{scale * v:.3g}" for v in pair))
    return f"| {group} | {found['structures']} | {' | '.join(cells)} |"


def _picture(by_element: Mapping[str, float]) -> str:
    """The periodic table: darker is worse, white is not known."""
    worst = max(by_element.values(), default=1.0)
    boxes = []
    for row, line in enumerate(TABLE.strip("\n").splitlines()):
        for column in range(0, len(line), 3):
            symbol = line[column : column + 3].strip()
            if symbol:
                boxes.append(_box(symbol, row + (row > 6) * 0.5, column // 3, by_element, worst))
    width, height = 18 * CELL, round(9.5 * CELL)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'font-family="sans-serif" text-anchor="middle">\n<title>MAE of forces, meV/A</title>\n'
        + "\n".join(boxes)
        + "\n</svg>\n"
    )


def _box(
    symbol: str, row: float, column: int, by_element: Mapping[str, float], worst: float
) -> str:
    x, y, error = column * CELL, row * CELL, by_element.get(symbol)
    shade = 255 if error is None else round(240 - 150 * error / worst)
    value = "" if error is None else f"{1e3 * error:.0f}"
    return (
        f'<rect x="{x}" y="{y:g}" width="{CELL - 2}" height="{CELL - 2}" '
        f'fill="rgb({shade},{shade},255)" stroke="#999"/>'
        f'<text x="{x + CELL / 2 - 1:g}" y="{y + 16:g}" font-size="13">{symbol}</text>'
        f'<text x="{x + CELL / 2 - 1:g}" y="{y + 30:g}" font-size="10">{value}</text>'
    )
