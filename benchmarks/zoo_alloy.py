r"""A set of structures that the zoo was not trained on: random AlCoCrFeNi, labelled by CHGNet.

    python benchmarks/zoo_alloy.py /tmp/alloy
    python benchmarks/finetune.py ALL_ELEMENTS_SMALL_6 --files /tmp/alloy/{train,test}.extxyz

Cells of 31 to 36 atoms, fcc and bcc, strained, rattled, some with a vacancy. The structures of the
zoo hold at most four elements and, where they are crystals, no more than 16 atoms.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk

from lightpfp_ray.data.ase_files import structure_of
from lightpfp_ray.data.write import writing
from lightpfp_ray.teachers import load_teacher
from lightpfp_ray.zoo.disorder import mixed, rattled, strained, without_one
from lightpfp_ray.zoo.prototypes import with_volume

ELEMENTS = ("Al", "Co", "Cr", "Fe", "Ni")

VOLUME = 11.7
"""A^3 of an atom."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, default=200)
    parser.add_argument("--test", type=int, default=100)
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    rng, teacher = np.random.default_rng(7), load_teacher("chgnet")
    for split in ("train", "test"):
        with writing(given.folder / f"{split}.extxyz") as add:
            for _ in range(getattr(given, split)):
                (found,) = teacher.label([structure_of(alloy(rng))])
                add(found)


def alloy(rng: np.random.Generator) -> Atoms:
    """One random structure."""
    if rng.random() < 0.5:
        sites = bulk("Ni", "fcc", a=3.6, cubic=True).repeat((2, 2, 2))
    else:
        sites = bulk("Fe", "bcc", a=2.88, cubic=True).repeat((3, 3, 2))
    atoms = mixed(sites, ELEMENTS, rng)
    atoms = with_volume(atoms, len(atoms) * rng.normal(VOLUME, 0.6))
    atoms = strained(atoms, rng, rng.choice([0.0, 0.02, 0.04]))
    if rng.random() < 0.2:
        atoms = without_one(atoms, rng)
    return rattled(atoms, rng, rng.uniform(0.03, 0.25))


if __name__ == "__main__":
    main()
