"""Compounds near rest: balanced charges, the same for a seed, of every ion, without the crystals
that models are tried on.
"""

import numpy as np
import pytest
from ase import Atoms
from ase.data import chemical_symbols

from lightpfp_ray.data.neighbors import edge_lengths, edges
from lightpfp_ray.zoo import compounds
from lightpfp_ray.zoo.compounds import EXCLUDED, FAMILIES, Turns, compounds_of
from lightpfp_ray.zoo.ions import ANIONS, CATIONS
from lightpfp_ray.zoo.prototypes import contact, formula

SOME = ("Na", "Mg", "Ti", "Fe", "Ga", "Si", "Sr", "N", "O", "F", "Cl", "As", "Ne")
ALL = [s for s in chemical_symbols[1:95] if s not in ("Po", "At", "Rn", "Fr", "Ra")]


def atoms_of(structure):
    return Atoms(structure.numbers, structure.positions, cell=structure.cell, pbc=structure.pbc)


def neighbors(atoms):
    """How many nearest neighbors the first atom has."""
    found = edges(atoms.positions, atoms.cell.array, atoms.pbc, 12.0)
    lengths = edge_lengths(atoms.positions, atoms.cell.array, *found)[found[0] == 0]
    return int((lengths < 1.01 * lengths.min()).sum())


def test_a_seed_gives_the_same_and_more_begin_with_the_same_as_fewer():
    first, again, other = (
        list(compounds.structures(SOME, n, seed)) for n, seed in ((40, 0), (60, 0), (40, 1))
    )
    for a, b in zip(first, again, strict=False):
        np.testing.assert_array_equal(a.positions, b.positions)
    assert any(len(a.numbers) != len(b.numbers) for a, b in zip(first, other, strict=True))


def test_every_element_every_cation_and_every_anion_is_seen_in_small_cells_without_labels():
    found = list(compounds.structures(ALL, 6000, 0))
    assert {s.group for s in found} == {"compound"}
    assert {chemical_symbols[z] for s in found for z in s.numbers} == set(ALL)
    assert max(len(s.numbers) for s in found) <= 12
    assert all(s.energy is s.forces is s.stress is None for s in found)
    together = {chemical_symbols[z] for s in found if len(set(s.numbers)) > 1 for z in s.numbers}
    assert together == set(CATIONS) | set(ANIONS)


def test_charges_are_balanced():
    for family in FAMILIES:
        for compound in compounds_of(family, SOME):
            total = 0
            for role, n, symbol, charge in zip(
                family.roles,
                formula(family.prototype),
                compound.symbols,
                compound.charges,
                strict=True,
            ):
                total += n * (-ANIONS[symbol][0] if role == "X" else charge)
            assert total == 0, compound


def test_atoms_are_not_too_close():
    for structure in compounds.structures(SOME, 400, 0):
        assert contact(atoms_of(structure), 3.0) > compounds.CLOSEST - 1e-9


def test_members_of_a_compound_go_from_compressed_to_stretched():
    found = [atoms_of(s) for s in compounds.structures(SOME, 400, 0)]
    spans = []
    for k in range(0, 400, compounds.MEMBERS):
        volumes = [a.get_volume() / len(a) for a in found[k : k + compounds.MEMBERS]]
        spans.append(max(volumes) / min(volumes))
    assert 1.25 < np.median(spans) < 1.25 / 0.8


@pytest.mark.parametrize(
    ("family", "elements"),
    [(f, e) for f in FAMILIES for name, e in EXCLUDED if f.prototype == name],
    ids=str,
)
def test_the_crystals_that_models_are_tried_on_are_not_made(family, elements, monkeypatch):
    assert elements not in {frozenset(c.symbols) for c in compounds_of(family, SOME)}
    monkeypatch.setattr(compounds, "EXCLUDED", frozenset())
    assert elements in {frozenset(c.symbols) for c in compounds_of(family, SOME)}


def test_nor_are_their_elements_in_their_lattices():
    tried = {"Cu": (12, 1), "W": (8, 1), "Mg": (12, 2), "Si": (4, 2)}
    turns = Turns(list(tried), np.random.default_rng(0))
    turns._of = []
    kinds = {name: set() for name in tried}
    for _ in range(200):
        atoms = turns.next()
        kinds[atoms.get_chemical_symbols()[0]].add((neighbors(atoms), len(atoms)))
    for name, kind in tried.items():
        assert len(kinds[name]) >= 2
        assert kind not in kinds[name]


@pytest.mark.parametrize(
    ("prototype", "symbols", "charges", "volume"),
    [
        ("B1", ("Na", "Cl"), (1, 0), 22.4),
        ("B1", ("Mg", "O"), (2, 0), 9.35),
        ("B3", ("Ga", "As"), (3, 0), 22.6),
        ("C1", ("Ca", "F"), (2, 0), 13.6),
        ("C4", ("Ti", "O"), (4, 0), 10.4),
        ("C5", ("Ti", "O"), (4, 0), 11.4),
        ("D5_1", ("Al", "O"), (3, 0), 8.5),
        ("E2_1", ("Sr", "Ti", "O"), (2, 4, 0), 11.9),
    ],
)
def test_the_guessed_volume_is_near_the_measured_one(prototype, symbols, charges, volume):
    """A^3 an atom, of the cells of Wyckoff, Crystal Structures."""
    roles = "CX" if len(symbols) == 2 else "CDX"
    family = next(f for f in FAMILIES if (f.prototype, f.roles) == (prototype, roles))
    atoms = compounds.Compound(family, symbols, charges).at_rest()
    assert atoms.get_volume() / len(atoms) == pytest.approx(volume, rel=0.08)


def test_elements_without_compounds_are_made_by_themselves():
    found = list(compounds.structures(("Ne", "Ar"), 20, 0))
    assert all(len(set(s.numbers)) == 1 for s in found)
