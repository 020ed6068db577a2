"""The compiled search against vesin and ASE, and what both searches refuse."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import primitive_neighbor_list
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lightpfp_ray.calculator import MTPCalculator
from lightpfp_ray.data import filter as reasons
from lightpfp_ray.data import neighbors
from lightpfp_ray.data.neighbors import edge_lengths, edges, search
from lightpfp_ray.errors import UserError

from .test_laws import potential

compiled = pytest.mark.skipif(neighbors.native() is None, reason="the search is not compiled")
NONE, ALL = np.zeros(3, bool), np.ones(3, bool)


def coordinates(largest):
    return st.floats(-largest, largest, allow_subnormal=False)


@st.composite
def structures(draw):
    """Any cell that is not refused, of height 0.3 A and more, atoms anywhere."""
    n_atoms = draw(st.integers(1, 9))
    cell = draw(arrays(float, (3, 3), elements=coordinates(9.0)))
    cell *= draw(arrays(float, (3, 1), elements=st.sampled_from([0.1, 1.0, 1.0, 3.0])))
    pbc = draw(arrays(bool, 3))
    positions = draw(arrays(float, (n_atoms, 3), elements=coordinates(15.0)))
    if draw(st.booleans()):
        cell[~pbc] = 0
    assume(reasons.cell_reason(cell, pbc, n_atoms) is None)
    return positions, cell, pbc, draw(st.floats(1.5, 6.0))


def assert_same_edges(found, expected):
    for ours, theirs in zip(found[:3], expected[:3], strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype
    # the last bit of a sum of products depends on who adds it up
    np.testing.assert_allclose(found.shortest, expected.shortest, rtol=1e-12, atol=1e-14)


def vectors(positions, cell, center, neighbor, shift):
    return positions[neighbor] + shift @ cell - positions[center]


def assert_vectors_of_ase(positions, cell, pbc, cutoff):
    """By center; ASE's own order of a center's edges is another one."""
    found = edges(positions, cell, pbc, cutoff)
    expected = primitive_neighbor_list("ijS", pbc, cell, positions, cutoff, self_interaction=False)
    assert len(found[0]) == len(expected[0])
    order = np.lexsort((*expected[2].T[::-1], expected[1], expected[0]))
    ours, theirs = (vectors(positions, cell, *e) for e in (found, expected))
    np.testing.assert_array_equal(found[0], expected[0][order])
    np.testing.assert_allclose(ours, theirs[order], rtol=0, atol=1e-12)


@compiled
@settings(max_examples=300, deadline=None, derandomize=True)
@given(structures())
def test_both_searches_find_the_same_edges_in_the_same_order(structure):
    positions, cell, _, _ = structure
    found = search(*structure)
    assert_same_edges(found, neighbors._search_with_vesin(*structure))
    lengths = edge_lengths(positions, cell, *edges(*structure))
    np.testing.assert_allclose(found.shortest, lengths.min(initial=np.inf), rtol=1e-12, atol=1e-14)


@compiled
@settings(max_examples=100, deadline=None, derandomize=True)
@given(structures())
def test_the_edges_are_the_same_bits_with_the_instructions_of_any_processor(structure):
    best, plain = (neighbors.native().search(*structure, plain=p) for p in (False, True))
    for ours, theirs in zip(best, plain, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(structures())
def test_edges_of_a_periodic_structure_are_those_of_ase(structure):
    positions, cell, _, cutoff = structure
    assume(reasons.cell_reason(cell, ALL, len(positions)) is None)
    assert_vectors_of_ase(positions, cell, ALL, min(cutoff, 4.0))


@pytest.mark.parametrize("pbc", [ALL, NONE, np.array([True, False, True])])
def test_edges_of_ten_thousand_atoms_are_those_of_ase(pbc):
    atoms = bulk("Cu", cubic=True).repeat((14, 14, 13))
    atoms.positions += 0.1 * np.random.default_rng(0).normal(size=(len(atoms), 3))
    assert len(atoms) > 10_000
    assert_vectors_of_ase(atoms.positions, atoms.cell.array, pbc, 3.0)


def test_shifts_are_those_of_positions_outside_the_cell():
    atoms = bulk("Cu", cubic=True).repeat(2)
    atoms.positions += 0.1 * np.random.default_rng(0).normal(size=(len(atoms), 3))
    cells = np.random.default_rng(1).integers(-300, 300, size=(len(atoms), 3))
    center, neighbor, shift = edges(atoms.positions, atoms.cell.array, ALL, 5.0)
    moved = edges(atoms.positions + cells @ atoms.cell.array, atoms.cell.array, ALL, 5.0)
    expected = shift + cells[center] - cells[neighbor]
    order = np.lexsort((*expected.T[::-1], neighbor, center))
    np.testing.assert_array_equal(moved[0], center)
    np.testing.assert_array_equal(moved[1], neighbor[order])
    np.testing.assert_array_equal(moved[2], expected[order])


def test_atoms_out_of_reach_have_no_edges():
    positions = np.array([[0.0, 0, 0], [9e5, 0, 0], [0, -9e5, 9e5]])
    for cell, pbc in ((np.zeros((3, 3)), NONE), (1e6 * np.eye(3), ALL)):
        found = search(positions, cell, pbc, 6.0)
        assert found.n_edges_A.tolist() == [0, 0, 0]
        assert found.shortest == np.inf


IMPOSSIBLE = [
    ({"positions": np.full((2, 3), np.nan)}, "NaN"),
    ({"positions": np.array([[0, 0, 0], [1e300, 0, 0]])}, "1e.300 A, at most 1e.06 A expected"),
    ({"cell": np.diag([5, 5, np.inf])}, "no volume"),
    ({"cell": np.diag([5, 5, 0.0])}, "no volume"),
    ({"cell": np.diag([5, 5, 1e-3])}, "thinner than 0.1 A"),
    ({"cell": np.diag([5, np.nan, 5]), "pbc": NONE}, "infinite cell"),
    ({"cell": 0.5 * np.eye(3)}, "per atom"),
    ({"positions": np.array([[0, 0, 0], [9e5, 0, 0.0]])}, "32767 cells apart"),
]


@pytest.mark.parametrize("with_vesin", [False, True])
@pytest.mark.parametrize(("change", "why"), IMPOSSIBLE)
def test_what_no_search_can_work_on_is_refused(change, why, with_vesin, monkeypatch):
    if with_vesin:
        monkeypatch.setattr(neighbors, "native", lambda: None)
    given = {"positions": np.eye(3)[:2], "cell": 5 * np.eye(3), "pbc": ALL} | change
    with pytest.raises(UserError, match=why):
        search(**given, cutoff=4.0)


@pytest.mark.parametrize(("change", "why"), IMPOSSIBLE[:5])
def test_the_calculator_refuses_the_same(change, why):
    given = {"positions": np.eye(3)[:2], "cell": 5 * np.eye(3), "pbc": ALL} | change
    atoms = Atoms("Al2", **given, calculator=MTPCalculator(potential()))
    with pytest.raises(UserError, match=why):
        atoms.get_forces()
