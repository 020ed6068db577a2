"""The normal equations of the linear coefficients: their quadratic form is the weighted loss."""

from dataclasses import replace

import pytest
import torch

from lightpfp_ray.data.collate import batch_from_structures
from lightpfp_ray.mtp.engine import compiled, normal, normal_equations
from lightpfp_ray.mtp.levels import Levels, make_basis
from lightpfp_ray.mtp.model import MTP, RadialShape

from .test_laws import CUTOFF, potential, structure


def labelled_batch():
    """Three structures, one of them a cluster, one without energy, one without forces."""
    structures = [structure(kind) for kind in ("triclinic", "one atom", "cluster")]
    batch = batch_from_structures(structures, CUTOFF)
    torch.manual_seed(4)
    energy_S, forces_A3 = torch.randn(3).double(), torch.randn(batch.n_atoms, 3).double()
    energy_S[1] = torch.nan
    forces_A3[batch.structure_A == 0] = torch.nan
    stress_S6 = 0.1 * torch.randn(3, 6).double()
    stress_S6[2] = torch.nan
    return replace(batch, energy_S=energy_S, forces_A3=forces_A3, stress_S6=stress_S6)


def weighted_loss(model, batch, weights_S3):
    p = model(batch)
    d_E = (p.energy_S - batch.energy_S) / batch.atoms_S
    d_F, d_S = p.forces_A3 - batch.forces_A3, p.stress_S6 - batch.stress_S6
    parts = (d_E[:, None], d_F, d_S)
    weights = (weights_S3[:, :1], weights_S3[batch.structure_A, 1:2], weights_S3[:, 2:])
    return float(sum((w * d**2).nansum() for w, d in zip(weights, parts, strict=True)))


@pytest.mark.parametrize("repulsion", [False, True])
def test_the_quadratic_form_is_the_weighted_loss(repulsion):
    source = potential()
    radial = RadialShape(CUTOFF, 2.3, 5, 0.1, repulsion)
    model = MTP(source.species, make_basis(Levels(8)), radial)
    torch.manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter))
    batch, weights_S3 = labelled_batch(), torch.rand(3, 3).double()
    found = normal_equations(model, batch, weights_S3)
    x_P = torch.cat([model.readout.moment_coeffs, model.species_coeffs]).detach()
    loss = x_P @ found.matrix_PP @ x_P - 2 * found.right_P @ x_P + found.square
    assert float(loss) == pytest.approx(weighted_loss(model, batch, weights_S3), rel=1e-10)


@pytest.mark.skipif(compiled.native() is None, reason="the compiled engine is not built")
@pytest.mark.parametrize("levels", [Levels(12), Levels(8, mu_cost=1), Levels(2)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_the_compiled_rows_are_those_of_torch(levels, dtype):
    model = MTP([13, 28], make_basis(levels), RadialShape(CUTOFF, 1.5, 5, 0.1))
    torch.manual_seed(6)
    with torch.no_grad():
        model.radial_coeffs.copy_(0.3 * torch.randn_like(model.radial_coeffs))
    model.to(dtype)
    batch = labelled_batch()
    found, expected = compiled.basis_rows(model, batch), normal.basis_rows(model.double(), batch)
    assert torch.equal(found.isnan(), expected.isnan())
    difference = (found - expected).nan_to_num().abs().amax(0)
    assert bool((difference <= 1e-12 * expected.nan_to_num().abs().amax(0)).all())


def test_no_structure_adds_nothing():
    found = normal_equations(potential(), batch_from_structures([], CUTOFF), torch.ones(0, 3))
    assert not found.matrix_PP.any()
    assert not found.right_P.any()
    assert not found.square
