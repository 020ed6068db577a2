"""Small labelled structures for the tests of the data: made with ASE's own calculators."""

import numpy as np
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from lightpfp_ray.data.inputs import Options, inputs_of
from lightpfp_ray.data.prepare import PARTS, gather, prepare_block
from lightpfp_ray.data.read import blocks_of


def labelled(atoms, **labels):
    """Atoms that carry labels and nothing that computes them."""
    atoms = atoms.copy()
    atoms.calc = SinglePointCalculator(atoms, **labels)
    return atoms


def metals(count, seed=0):
    """Rattled cells of Cu, Al or Ni, periodic, one to eight atoms, with all labels.

    To the same digits on all processors, since a structure's content decides its split.
    """
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        atoms = bulk(rng.choice(["Cu", "Al", "Ni"]), cubic=True).repeat(
            (1, 1, int(rng.integers(1, 3)))
        )
        atoms.set_cell(
            atoms.cell.array @ (np.eye(3) + 0.05 * rng.normal(size=(3, 3))), scale_atoms=True
        )
        atoms.positions += 0.1 * rng.normal(size=atoms.positions.shape)
        atoms.set_cell(atoms.cell.array.round(9))
        atoms.positions = atoms.positions.round(9)
        atoms.calc = EMT()
        found.append(
            labelled(
                atoms,
                energy=round(atoms.get_potential_energy(), 9),
                forces=atoms.get_forces().round(9),
                stress=atoms.get_stress().round(9),
            )
        )
    return found


def oddities():
    """A cluster without a cell, one atom alone, a one-atom cell, a slab, and labels that are partly
    absent.
    """
    water = molecule("H2O")
    slab = Atoms(
        "Cu2",
        positions=[[0, 0, 0], [1.3, 1.3, 9.0]],
        cell=[[2.6, 0, 0], [0.7, 2.6, 0], [0, 0, 20]],
        pbc=[True, True, False],
    )
    return [
        labelled(water, energy=-14.0, forces=np.arange(9.0).reshape(3, 3)),
        labelled(Atoms("O"), energy=-1.5),
        labelled(bulk("Cu"), energy=-3.0, stress=np.arange(6.0)),
        labelled(slab, forces=np.ones((2, 3)), stress=np.ones(6)),
    ]


def written(path, images):
    """The path, after the images are written to it."""
    write(path, images)
    return path


def prepared(folder, path, cutoff=4.5, test_fraction=0.0, size=3):
    """The manifest of a cache of one file, made without Ray, by blocks of `size` structures."""
    (folder / PARTS).mkdir(parents=True)
    options = Options(cutoff, 1e38, 1e38, 0, test_fraction)
    skipped = []
    for number, block in enumerate(blocks_of(path, path.name, size)):
        skipped += prepare_block(block, None, folder, f"{number:06d}", options)
    return gather(folder, inputs_of([path], []), options, skipped)
