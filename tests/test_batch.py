"""Edges of a batch: ranges into arrays, and the same edges one after the other."""

from dataclasses import replace

import pytest
import torch

from lightpfp_ray.data.ase_files import structure_of
from lightpfp_ray.data.collate import batch_from_structures
from lightpfp_ray.data.neighbors import edge_lengths, edges

from .data_samples import metals, oddities

CUTOFF = 4.0


@pytest.fixture(scope="module")
def structures():
    return [structure_of(atoms) for atoms in metals(2) + oddities()]


def test_edges_one_after_the_other_are_those_of_each_structure(structures):
    batch = batch_from_structures(structures, CUTOFF)
    first = 0
    for s, start in zip(structures, batch.first_atom_S.tolist(), strict=True):
        center, neighbor, shift = edges(s.positions, s.cell, s.pbc, CUTOFF)
        part = slice(first, first + len(center))
        assert (batch.center_E[part] - start).tolist() == center.tolist()
        assert (batch.neighbor_E[part] - start).tolist() == neighbor.tolist()
        assert batch.shift_E3[part].tolist() == shift.tolist()
        found = batch.edge_vectors()[part].norm(dim=1).numpy()
        assert found == pytest.approx(edge_lengths(s.positions, s.cell, center, neighbor, shift))
        first += len(center)
    assert first == batch.n_edges == len(batch.center_E)
    assert batch.atoms_S.tolist() == [len(s.numbers) for s in structures]


def test_a_batch_of_nothing_has_no_edges():
    batch = batch_from_structures([], CUTOFF)
    assert (batch.n_structures, batch.n_atoms, batch.n_edges) == (0, 0, 0)
    assert [len(t) for t in (batch.center_E, batch.neighbor_E, batch.atoms_S)] == [0, 0, 0]


def test_another_device_receives_the_own_edges_alone(structures):
    batch = batch_from_structures(structures, CUTOFF)
    few = batch_from_structures(structures[1:2], CUTOFF)
    last = slice(int(batch.first_atom_S[1]), int(batch.first_atom_S[2]))
    drawn = replace(
        few,
        first_edge_A=batch.first_edge_A[last],
        neighbors_N=batch.neighbors_N,
        shifts_N3=batch.shifts_N3,
    )
    assert drawn.to(torch.device("cpu")) is drawn
    moved = drawn.to(torch.device("meta"))
    assert moved.positions_A3.is_meta
    assert moved.neighbors_N.shape == (few.n_edges,)
    own = drawn.with_own_edges()
    assert torch.equal(own.neighbor_E, few.neighbor_E)
    assert torch.equal(own.shift_E3, few.shift_E3)
