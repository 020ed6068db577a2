"""The columns of the quick potential are those of the MTP itself."""

import numpy as np
import torch

from lightpfp_ray.data.collate import batch_from_structures
from lightpfp_ray.doctor.fit import N_Q, _random, design
from lightpfp_ray.doctor.strain import strain_test
from lightpfp_ray.mtp.engine import normal_equations
from lightpfp_ray.mtp.model import RadialShape

from .doctor_samples import clean


def test_the_columns_give_the_normal_equations_of_the_engine():
    structures = clean()[:4]
    shortest, cutoff = 2.0, 4.0
    batch = batch_from_structures(structures, cutoff)
    found = design([batch], shortest, cutoff, seed=5, n_models=1)
    model = _random([29, 79], RadialShape(cutoff, shortest, N_Q, scaling=1 / cutoff**2), 5)
    expected = normal_equations(model, batch, torch.ones(4, 3, dtype=torch.float64))
    atoms = batch.atoms_S.numpy()[:, None]
    columns = found.energy_SP.shape[1]
    rows = np.vstack(
        [found.energy_SP / atoms, found.forces_NP, found.stress_SP.reshape(-1, columns)]
    )
    np.testing.assert_allclose(rows.T @ rows, expected.matrix_PP.numpy(), rtol=1e-9, atol=1e-12)


def test_the_work_of_the_stress_is_the_change_of_the_energy():
    found = strain_test(dict(enumerate(clean()[60:])))
    assert found.structures == 12
    assert abs(found.factor - 1) < 0.01  # trapezoids of 1 % strain
    assert abs(found.offset) < 1e-3
