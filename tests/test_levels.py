"""The basis: published counts, and contractions against brute-force sums over indices."""

import numpy as np
import pytest
import torch

from lightpfp_ray.mtp.levels import Levels, contractions, make_basis
from lightpfp_ray.mtp.moments import program

PUBLISHED = {
    2: (1, 1, 1),
    4: (1, 1, 2),
    6: (2, 5, 5),
    8: (2, 11, 9),
    10: (3, 25, 16),
    12: (3, 46, 29),
    14: (4, 81, 52),
}
PUBLISHED |= {16: (4, 130, 92), 18: (5, 201, 163), 20: (5, 295, 288)}
PUBLISHED |= {22: (6, 421, 500), 24: (6, 581, 864)}


@pytest.mark.parametrize("levmax", PUBLISHED)
def test_counts_are_those_of_the_published_templates(levmax):
    basis = make_basis(Levels(levmax))
    assert (basis.n_radial, len(basis.components), len(basis.scalars)) == PUBLISHED[levmax]


def test_small_basis_has_27_scalars_of_22_components():
    basis = make_basis(Levels(8, mu_cost=1))
    assert (basis.n_radial, len(basis.components), len(basis.scalars)) == (7, 22, 27)


def full_contraction(chosen, table, f_RJ, u_J3):
    """Contract the full tensors of the moments index by index."""
    letters = iter("abcdefghijklmnop")
    names = [""] * len(chosen)
    for p in range(len(chosen)):
        for q in range(p + 1, len(chosen)):
            for _ in range(table[p][q]):
                letter = next(letters)
                names[p] += letter
                names[q] += letter
    tensors = []
    for mu, nu in chosen:
        outer = f_RJ[mu]
        for _ in range(nu):
            outer = np.einsum("j...,jx->j...x", outer, u_J3)
        tensors.append(outer.sum(0))
    return np.einsum(",".join(names) + "->", *tensors)


@pytest.mark.parametrize("levels", [Levels(12), Levels(8, mu_cost=1), Levels(7, 1, 3, 1)])
def test_every_scalar_is_its_contraction_of_full_tensors(levels):
    rng = np.random.default_rng(0)
    basis = make_basis(levels)
    f_RJ, u_J3 = rng.normal(size=(basis.n_radial, 5)), rng.normal(size=(5, 3))
    u_J3 /= np.linalg.norm(u_J3, axis=1, keepdims=True)
    tensors = program(basis, torch.device("cpu"))
    center = torch.zeros(5, dtype=torch.int64)
    moments = tensors.moments(torch.from_numpy(f_RJ.T.copy()), torch.from_numpy(u_J3), center, 1)
    got = tensors.contract(moments)[0].numpy()
    expected = [
        full_contraction(chosen, table, f_RJ, u_J3) for chosen, table in contractions(levels)
    ]
    np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-12)
