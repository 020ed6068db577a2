"""The moments M[mu, nu](n_i) = sum_j f_mu(r_ij) u (x) ... (x) u and their contractions to the
scalars B_b.

A component is a monomial: M[mu; a, b, c] = sum_j f_mu(r) u_x^a u_y^b u_z^c, u = r_ij / r. Shapeev
2016, eq. 3.1; Novikov et al. 2021, eq. 4. The contractions are the products of `levels.Basis`, run
here depth by depth.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from .levels import Basis


def monomials_of(u_E3: Tensor, exponents_K3: Tensor, degree: int) -> Tensor:
    """u_x^a u_y^b u_z^c for each of K exponents, none above `degree`: (E, K)."""
    powers = [torch.ones_like(u_E3)]
    for _ in range(degree):
        powers.append(powers[-1] * u_E3)
    powers_P3E = torch.stack(powers).transpose(1, 2)
    a, b, c = exponents_K3.unbind(-1)
    return (powers_P3E[a, 0] * powers_P3E[b, 1] * powers_P3E[c, 2]).T


@dataclass(frozen=True)
class Layer:
    """Products whose factors are complete before: they add up to the next moments."""

    left_P: Tensor
    right_P: Tensor
    times_P: Tensor
    target_P: Tensor  # counted from the layer's first moment
    n_targets: int


@dataclass(frozen=True)
class Program:
    """A `Basis` in tensors: components first, then layer after layer."""

    mu_K: Tensor
    exponents_K3: Tensor
    degree: int  # the largest exponent
    layers: tuple[Layer, ...]
    scalars_B: Tensor

    def moments(self, f_ER: Tensor, u_E3: Tensor, center_E: Tensor, n_atoms: int) -> Tensor:
        """Components of the moments of every atom: (A, K)."""
        edge_EK = f_ER[:, self.mu_K] * monomials_of(u_E3, self.exponents_K3, self.degree)
        return edge_EK.new_zeros(n_atoms, edge_EK.shape[1]).index_add(0, center_E, edge_EK)

    def contract(self, moments_AK: Tensor) -> Tensor:
        """Basis functions of every atom: (A, B)."""
        moments_MA = moments_AK.T
        for layer in self.layers:
            terms_PA = moments_MA[layer.left_P] * moments_MA[layer.right_P]
            terms_PA = terms_PA * layer.times_P[:, None].to(terms_PA.dtype)
            new_MA = terms_PA.new_zeros(layer.n_targets, terms_PA.shape[1])
            moments_MA = torch.cat([moments_MA, new_MA.index_add(0, layer.target_P, terms_PA)])
        return moments_MA[self.scalars_B].T


@cache
def program(basis: Basis, device: torch.device) -> Program:
    """The program of a basis on a device; moments are numbered anew so that each layer's are
    contiguous.
    """
    depth = dict.fromkeys(range(len(basis.components)), 0)
    for left, right, _, target in basis.products:
        depth[target] = max(depth.get(target, 1), 1 + depth[left], 1 + depth[right])
    order = sorted(depth, key=lambda m: (depth[m], m))
    number = {m: i for i, m in enumerate(order)}

    def index(values: list) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=device)

    layers = []
    for level in range(1, max(depth.values()) + 1):
        rows = [row for row in basis.products if depth[row[3]] == level]
        first = min(number[row[3]] for row in rows)
        left, right, times, target = (list(column) for column in zip(*rows, strict=True))
        layers.append(
            Layer(
                left_P=index([number[m] for m in left]),
                right_P=index([number[m] for m in right]),
                times_P=index(times),
                target_P=index([number[m] - first for m in target]),
                n_targets=len(set(target)),
            )
        )
    return Program(
        mu_K=index([mu for mu, *_ in basis.components]),
        exponents_K3=index([list(abc) for _, *abc in basis.components]),
        degree=max(exponent for _, *abc in basis.components for exponent in abc),
        layers=tuple(layers),
        scalars_B=index([number[s] for s in basis.scalars]),
    )
