"""Structures for pretraining: the same for a seed, of all elements and pairs, none too close."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.data import chemical_symbols, covalent_radii

from lightpfp_ray.zoo import inorganic, organic
from lightpfp_ray.zoo.coverage import coverage
from lightpfp_ray.zoo.disorder import molten, packed, pushed_apart
from lightpfp_ray.zoo.prototypes import PROTOTYPES, contact, crystal_of, names_of, volume_of

METALS = ("Al", "Cu", "Ni", "Ag", "O")
CASES = [(inorganic, METALS), (organic, organic.ELEMENTS)]
IDS = ("inorganic", "organic")


def atoms_of(structure):
    return Atoms(structure.numbers, structure.positions, cell=structure.cell, pbc=structure.pbc)


@pytest.mark.parametrize(("room", "symbols"), CASES, ids=IDS)
def test_structures_are_the_same_for_a_seed_and_others_for_another(room, symbols):
    first, again, other = (list(room.structures(symbols, 30, seed)) for seed in (0, 0, 1))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.positions, b.positions)
        assert a.group == b.group
    assert any(
        a.positions.shape != b.positions.shape or (a.positions != b.positions).any()
        for a, b in zip(first, other, strict=True)
    )


@pytest.mark.parametrize(("room", "symbols"), CASES, ids=IDS)
def test_every_class_every_element_and_no_label(room, symbols):
    found = list(room.structures(symbols, 400, 0))
    seen = coverage(found)
    assert set(seen.classes) == set(room.SHARES)
    assert {chemical_symbols[z] for z in seen.elements} == set(symbols)
    assert all(s.energy is s.forces is s.stress is None for s in found)


def test_every_pair_of_elements_stands_side_by_side():
    """150 structures for 15 pairs, in turn."""
    seen = coverage(inorganic.structures(METALS, 150, 0))
    assert len(seen.pairs) == 15
    assert "15 of 15" in seen.lines(METALS)[2]


@pytest.mark.parametrize(("room", "symbols"), CASES, ids=IDS)
def test_atoms_are_not_too_close_but_in_dimers(room, symbols):
    for structure in room.structures(symbols, 200, 0):
        least = 0.55 if structure.group in ("dimer", "crystal", "stretched", "molecule") else 0.6
        assert contact(atoms_of(structure), 3.0) > least - 1e-9, structure.group


def test_cells_are_small():
    """Labels cost by the atom."""
    assert max(len(s.numbers) for s in inorganic.structures(METALS, 200, 0)) <= 16


@pytest.mark.parametrize(
    ("name", "symbols", "formula"),
    [
        ("A1", ["Cu"], "Cu"),
        ("A4", ["Si"], "Si2"),
        ("B1", ["Na", "Cl"], "ClNa"),
        ("L1_2", ["Au", "Cu"], "AuCu3"),
        ("C1", ["Ca", "F"], "CaF2"),
        ("C15", ["Mg", "Cu"], "Cu4Mg2"),
        ("E2_1", ["Sr", "Ti", "O"], "O3SrTi"),
        ("H1_1", ["Mg", "Al", "O"], "Al4Mg2O8"),
        ("L2_1", ["Cu", "Mn", "Al"], "AlCu2Mn"),
    ],
)
def test_prototypes_have_the_formula_of_their_crystal(name, symbols, formula):
    assert crystal_of(name, symbols).get_chemical_formula("hill") == formula


@pytest.mark.parametrize("name", PROTOTYPES)
def test_a_crystal_has_the_volume_that_was_asked_for(name):
    symbols = ["Mg", "O", "Ti"][: PROTOTYPES[name].kinds]
    touching, additive = crystal_of(name, symbols), crystal_of(name, symbols, 1.0)
    whole = sum(volume_of(s) for s in additive.get_chemical_symbols())
    assert additive.get_volume() == pytest.approx(whole)
    assert touching.get_volume() >= 0.5 * whole * (1 - 1e-9)
    assert contact(touching) >= 1 - 1e-9
    assert name in names_of(len(symbols))


def test_neighbors_in_sodium_chloride_have_the_sum_of_their_radii():
    atoms = crystal_of("B1", ["Na", "Cl"]).repeat(2)
    expected = covalent_radii[11] + covalent_radii[17]
    assert atoms.get_all_distances(mic=True)[0][1:].min() == pytest.approx(expected)


def test_packed_atoms_are_apart():
    rng = np.random.default_rng(0)
    symbols = ["Cu"] * 6 + ["Zr"] * 4
    atoms = packed(symbols, 1.3 * sum(volume_of(s) for s in symbols), rng)
    assert contact(atoms) > 0.75
    assert contact(pushed_apart(atoms.copy())) >= contact(atoms) - 1e-3


def test_melting_takes_any_calculator_and_is_the_same_for_a_seed():
    atoms = bulk("Cu", cubic=True).repeat(2)
    ends = []
    for _ in range(2):
        rng = np.random.default_rng(0)
        frames = list(molten(atoms, EMT(), 3000, rng, steps=20, every=10))
        assert len(frames) == 2
        assert frames[0].calc is None
        ends.append(frames[-1].positions)
    np.testing.assert_array_equal(*ends)
    assert np.abs(ends[0] - atoms.positions).max() > 0.1


def test_heavier_halogens_stand_further_out():
    by_formula = {m.get_chemical_formula(): m for m in organic.molecules()}
    lengths = {
        x: by_formula[f"CH3{x}" if x != "Br" else "CH3Br"].get_all_distances().max()
        for x in ("Cl", "Br", "I")
    }
    assert lengths["Cl"] < lengths["Br"] < lengths["I"]
