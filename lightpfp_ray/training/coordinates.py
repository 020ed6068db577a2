"""The coordinates in which an optimizer walks: linear maps to the parameters that make the loss
round.

    c = (c_0 + Y gamma) K     the functions of K are orthonormal over the edges; Y holds back what
                              the loss is steep in, in blocks: of a pair of species, or of all
    xi = T eta                T^T N T = 1 / L_0, N the normal matrix of the stage's loss
    E0 = u e + M xi           a change of xi leaves the energies of the compositions as they are
    W = omega S^T,  b = beta - W m      a network sees (B - m) S, of mean 0 and deviation 1
    w = u omega               its last layer, in units of the energies that are missing

A potential holds c, xi, E0, W, b, w; what stands here belongs to the training alone. The walkers
are float64 whatever the potential is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..mtp.model import MTP

XI, E0, RADIAL = "readout.moment_coeffs", "species_coeffs", "radial_coeffs"
FIRST = ("readout.layers.0.weight", "readout.layers.0.bias")


@dataclass(frozen=True)
class Maps:
    """The matrices above; those of a network are the identity where the readout is linear."""

    radial_QQ: Tensor  # K
    start_CCRQ: Tensor  # c_0
    units_MJJ: Tensor  # Y: blocks of J of the C C R Q coefficients; one is of every block
    hold_MJJ: Tensor  # P: gamma P gamma / 2 is added to the loss
    stretch_CCQQ: Tensor  # S of what pairs of species share (`pairs`); (1, 1, Q, Q) is of all pairs
    linear_BB: Tensor  # T
    offset_CB: Tensor  # M
    energy: Tensor  # u, eV
    mean_B: Tensor  # m
    input_BB: Tensor  # S

    @classmethod
    def identity(cls, model: MTP) -> Maps:
        """The parameters themselves."""
        n_basis, options = len(model.basis.scalars), {"dtype": torch.float64}
        return cls(
            radial_QQ=torch.eye(model.radial.n_q, **options),
            start_CCRQ=torch.zeros(model.radial_coeffs.shape, **options),
            units_MJJ=torch.eye(model.radial.n_q, **options)[None],
            hold_MJJ=torch.zeros(1, model.radial.n_q, model.radial.n_q, **options),
            stretch_CCQQ=torch.eye(model.radial.n_q, **options)[None, None],
            linear_BB=torch.eye(n_basis, **options),
            offset_CB=torch.zeros(len(model.species), n_basis, **options),
            energy=torch.ones((), **options),
            mean_B=torch.zeros(n_basis, **options),
            input_BB=torch.eye(n_basis, **options),
        )

    def with_radial(self, radial_QQ: Tensor) -> Maps:
        return replace(self, radial_QQ=radial_QQ)

    def with_units(self, model: MTP, units_MJJ: Tensor, hold_MJJ: Tensor) -> Maps:
        """gamma is 0 at the potential."""
        start_CCRQ = orthonormal_coeffs(model, self.radial_QQ)
        return replace(self, start_CCRQ=start_CCRQ, units_MJJ=units_MJJ, hold_MJJ=hold_MJJ)


def orthonormal_coeffs(model: MTP, radial_QQ: Tensor) -> Tensor:
    """Radial coefficients c K^-1 (C, C, R, Q), on the CPU."""
    coeffs_CCRQ = model.radial_coeffs.detach().cpu().double()
    return torch.linalg.solve(radial_QQ.cpu().T, coeffs_CCRQ.mT).mT


class Coordinates:
    """`walkers`: what an optimizer moves, by the name of the parameter that it makes."""

    def __init__(self, model: MTP, maps: Maps) -> None:
        device = model.species_coeffs.device
        self.maps = Maps(**{k: v.to(device) for k, v in vars(maps).items()})
        self.last = f"readout.layers.{len(model.widths)}.weight"
        self.walkers = {
            name: walker.clone(memory_format=torch.contiguous_format).requires_grad_()
            for name, walker in self._of(model).items()
        }

    def _of(self, model: MTP) -> dict[str, Tensor]:
        """The walkers that make the parameters of a model."""
        raw = {name: p.detach().double() for name, p in model.named_parameters()}
        found, maps = dict(raw), self.maps
        found[RADIAL] = self.walker_of(raw[RADIAL])
        found[XI] = torch.linalg.solve(maps.linear_BB, raw[XI])
        found[E0] = (raw[E0] - maps.offset_CB @ raw[XI]) / maps.energy
        if self.last in raw:
            weight, bias = (raw[name] for name in FIRST)
            found[FIRST[0]] = torch.linalg.solve(maps.input_BB, weight.T).T
            found[FIRST[1]] = bias + weight @ maps.mean_B
            found[self.last] = raw[self.last] / maps.energy
        return found

    def parameters(self) -> dict[str, Tensor]:
        """The parameters that the walkers make, differentiable in them."""
        made, maps = dict(self.walkers), self.maps
        made[RADIAL] = self.radial_of(made[RADIAL])
        made[XI] = maps.linear_BB @ made[XI]
        made[E0] = maps.energy * made[E0] + maps.offset_CB @ made[XI]
        if self.last in made:
            made[FIRST[0]] = made[FIRST[0]] @ maps.input_BB.T
            made[FIRST[1]] = made[FIRST[1]] - made[FIRST[0]] @ maps.mean_B
            made[self.last] = maps.energy * made[self.last]
        return made

    @property
    def measured(self) -> bool:
        """Whether the radial functions have units of the loss."""
        units = self.maps.units_MJJ
        return bool((units != torch.eye(units.shape[-1]).to(units)).any())

    def radial_of(self, walker_CCRQ: Tensor) -> Tensor:
        """The radial coefficients c of gamma, both (C, C, R, Q)."""
        moved = self._blocks(self.maps.units_MJJ, walker_CCRQ)
        return (self.maps.start_CCRQ + moved) @ self.maps.radial_QQ

    def radial_slope(self, gradient_CCRQ: Tensor) -> Tensor:
        """The derivative by gamma, of that by c."""
        return self._blocks(self.maps.units_MJJ.mT, gradient_CCRQ @ self.maps.radial_QQ.T)

    def walker_of(self, coeffs_CCRQ: Tensor) -> Tensor:
        """gamma of the radial coefficients c, both (C, C, R, Q)."""
        orthonormal = torch.linalg.solve(self.maps.radial_QQ.T, coeffs_CCRQ.mT).mT
        moved = orthonormal - self.maps.start_CCRQ
        return self._blocks(torch.linalg.inv(self.maps.units_MJJ), moved)

    def hold(self, walker_CCRQ: Tensor) -> Tensor:
        """The derivative of what holds gamma, P gamma."""
        return self._blocks(self.maps.hold_MJJ, walker_CCRQ)

    @staticmethod
    def _blocks(matrices_MJJ: Tensor, radial_CCRQ: Tensor) -> Tensor:
        """Each block of coefficients times its matrix."""
        blocks = radial_CCRQ.reshape(-1, matrices_MJJ.shape[-1], 1)
        return (matrices_MJJ @ blocks).reshape(radial_CCRQ.shape)

    def set_gradients(self, gradients: dict[str, Tensor]) -> None:
        """Give each walker its gradient, from those of the parameters; with what holds it."""
        made = self.parameters()
        found = torch.autograd.grad(
            list(made.values()), list(self.walkers.values()), [gradients[name] for name in made]
        )
        for walker, gradient in zip(self.walkers.values(), found, strict=True):
            walker.grad = gradient
        radial = self.walkers[RADIAL]
        radial.grad = radial.grad + self.hold(radial.detach())

    def apply(self, model: MTP) -> None:
        """Write the parameters into a model, in its precision."""
        with torch.no_grad():
            made = self.parameters()
            for name, parameter in model.named_parameters():
                parameter.copy_(made[name])

    def state_dict(self) -> dict:
        walkers = {name: walker.detach().clone() for name, walker in self.walkers.items()}
        return {"maps": vars(self.maps), "walkers": walkers}

    @classmethod
    def of_state(cls, model: MTP, state: dict) -> Coordinates:
        """Those that a `state_dict()` was taken of, to the bit."""
        found = cls(model, Maps(**state["maps"]))
        with torch.no_grad():
            for name, walker in found.walkers.items():
                walker.copy_(state["walkers"][name])
        return found
