"""Edges against the definition: all images, one by one; by both searches."""

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.geometry import complete_cell

from lightpfp_ray.data import neighbors
from lightpfp_ray.data.neighbors import edges


@pytest.fixture(params=["compiled", "vesin"], autouse=True)
def _both_searches(request, monkeypatch):
    if request.param == "vesin":
        monkeypatch.setattr(neighbors, "native", lambda: None)
    elif neighbors.native() is None:
        pytest.skip("the search is not compiled")


def vectors(positions, cell, center, neighbor, shift):
    return positions[neighbor] + shift @ cell - positions[center]


def every_image(positions, cell, pbc, cutoff):
    """Edges by trying every lattice shift that may matter."""
    inverse = np.linalg.inv(complete_cell(cell))
    reach = (
        np.ceil(cutoff * np.linalg.norm(inverse, axis=0))
        + np.ceil(np.ptp(positions @ inverse, axis=0))
        + 1
    )
    reach = np.where(pbc, reach, 0).astype(int)
    shifts = (
        np.array(np.meshgrid(*[np.arange(-n, n + 1) for n in reach], indexing="ij"))
        .reshape(3, -1)
        .T
    )
    found = set()
    for i in range(len(positions)):
        for j in range(len(positions)):
            near = np.linalg.norm(positions[j] + shifts @ cell - positions[i], axis=1) < cutoff
            found |= {(i, j, *s) for s in shifts[near].tolist() if i != j or any(s)}
    return found


def ugly(seed):
    """A skewed cell, atoms far outside it, any periodicity, cutoff often longer than the cell."""
    rng = np.random.default_rng(seed)
    cell = np.zeros((3, 3))
    while abs(np.linalg.det(cell)) < 2:
        cell = rng.normal(size=(3, 3)) * rng.uniform(1.5, 6)
    pbc = rng.random(3) < 0.6
    if seed % 5 == 0:
        cell[~pbc] = 0
    return rng.uniform(-12, 12, size=(rng.integers(1, 8), 3)), cell, pbc, rng.uniform(2, 6)


@pytest.mark.parametrize("seed", range(30))
def test_edges_are_all_images_within_the_cutoff_once(seed):
    positions, cell, pbc, cutoff = ugly(seed)
    center, neighbor, shift = edges(positions, cell, pbc, cutoff)
    found = [
        (i, j, *s)
        for i, j, s in zip(center.tolist(), neighbor.tolist(), shift.tolist(), strict=True)
    ]
    assert len(found) == len(set(found))
    assert set(found) == every_image(positions, cell, pbc, cutoff)
    assert (np.diff(center) >= 0).all()
    assert (shift[:, ~pbc] == 0).all()
    assert (
        np.linalg.norm(vectors(positions, cell, center, neighbor, shift), axis=1) < cutoff
    ).all()
    assert [a.dtype for a in (center, neighbor, shift)] == [np.int64, np.int64, np.int16]


def test_a_one_atom_cell_has_its_own_images_as_neighbors():
    copper = bulk("Cu", a=3.6)
    center, neighbor, shift = edges(copper.positions, copper.cell.array, copper.pbc, 3.0)
    assert len(center) == 12
    assert not center.any()
    assert not neighbor.any()
    assert shift.any(axis=1).all()


def test_an_edge_of_exactly_the_cutoff_is_none():
    pair = np.array([[0.0, 0, 0], [2.0, 0, 0]])
    none, periodic = np.zeros((3, 3)), np.zeros(3, bool)
    assert len(edges(pair, none, periodic, 2.0)[0]) == 0
    assert len(edges(pair, none, periodic, np.nextafter(2.0, 3))[0]) == 2


def test_a_cluster_has_no_shift_and_an_empty_structure_no_edge():
    water = molecule("H2O")
    center, _, shift = edges(water.positions, water.cell.array, water.pbc, 5.0)
    assert len(center) == 6
    assert not shift.any()
    assert [
        len(part) for part in edges(np.zeros((0, 3)), np.zeros((3, 3)), np.zeros(3, bool), 5.0)
    ] == [0, 0, 0]
