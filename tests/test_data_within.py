"""The edges of a smaller cutoff, out of a cache of a larger one."""

import numpy as np
import pytest
import torch

from lightpfp_ray.data import within as module
from lightpfp_ray.data.dataset import StructureSet
from lightpfp_ray.data.within import within
from lightpfp_ray.mtp.engine import default_engine, torch_engine

from .data_samples import metals, oddities, prepared, written
from .test_data_dataset import assert_equal
from .training_samples import model_of


@pytest.mark.parametrize("block", [5, 10**6])
@pytest.mark.parametrize("cutoff", [0.5, 3.2, 4.5])
def test_a_smaller_cutoff_gives_the_set_that_is_prepared_with_it(
    tmp_path, monkeypatch, cutoff, block
):
    monkeypatch.setattr(module, "BLOCK_ATOMS", block)
    path = written(tmp_path / "a.extxyz", metals(5) + oddities())
    wide = prepared(tmp_path / "wide", path, 4.5)
    narrow = prepared(tmp_path / "narrow", path, cutoff)
    found = within(StructureSet.open(wide.path, "train"), cutoff)
    wanted = StructureSet.open(narrow.path, "train")
    assert found.counts.n_edges.tolist() == wanted.counts.n_edges.tolist()
    some = np.array([8, 0, 3, 3])
    assert_equal(found.batch(some), wanted.batch(some))


def test_a_set_without_structures_stays_one(tmp_path):
    path = written(tmp_path / "a.extxyz", metals(2))
    empty = StructureSet.open(prepared(tmp_path / "cache", path).path, "test")
    assert len(within(empty, 3.0)) == 0


def test_a_batch_keeps_its_atoms_and_its_short_edges(tmp_path):
    path = written(tmp_path / "a.extxyz", metals(3))
    batch = StructureSet.open(prepared(tmp_path / "cache", path, 4.5).path, "train").batch([2, 0])
    short = batch.within(3.0)
    inside = batch.edge_vectors().norm(dim=-1) < 3.0
    assert 0 < short.n_edges < batch.n_edges
    assert torch.equal(short.edge_vectors(), batch.edge_vectors()[inside])
    assert torch.equal(short.positions_A3, batch.positions_A3)


@pytest.mark.parametrize("evaluate", [default_engine, torch_engine.evaluate])
def test_an_engine_gives_edges_beyond_the_cutoff_no_weight(tmp_path, evaluate):
    path = written(tmp_path / "a.extxyz", metals(4))
    train = StructureSet.open(prepared(tmp_path / "cache", path, 5.5).path, "train")
    batch = train.batch(range(4))
    model = model_of(train)
    with torch.no_grad():
        for parameter in model.readout.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(0))
    assert model.cutoff == 4.0
    wide, narrow = (evaluate(model, b, False) for b in (batch, batch.within(4.0)))
    assert wide.forces_A3.abs().max() > 0.1
    for name in ("energy_S", "forces_A3", "stress_S6"):
        found, wanted = getattr(wide, name), getattr(narrow, name)
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12, equal_nan=True)
