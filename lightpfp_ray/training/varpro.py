"""Variable projection: xi and E0 are eliminated by least squares, a quasi-Newton method moves the
radial coefficients; an epoch is one of its iterations over the whole training set.

    f(gamma) = min_x L(gamma, x),     df/dgamma = dL/dgamma at that x     (Golub and Pereyra 1973)

The coordinates are those of Gauss and Newton (`gauss_newton`), found again every some iterations.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..mtp.model import MTP
from .batches import Share, WeightedSet
from .context import WorkerContext
from .coordinates import RADIAL, Coordinates
from .gauss_newton import measured
from .linear import RIDGES, equations, linear_part, set_linear_part, solution
from .loss import weighted
from .parts import sum_in_parts
from .quasi_newton import QuasiNewton
from .update import own_gradient, size_of, unpacked

FIRST_STEP = 0.1
"""Length of the first step, in coordinates where a radial function has size 1."""

FEWEST, MEASURED_FOR, FALLEN = 3, 20, 0.5
"""Coordinates are found again after so many iterations: when the loss has fallen to this part of
what it was at the time, or in any case.
"""

WHILE = 5
"""A walk ends when so many iterations lower the loss by less than its tolerance, and goes back to
where they began: what brings so little learns the training set by heart.
"""


class VariableProjection:
    """The walk of a stage with a linear readout and a mean squared loss; `seed` is of its
    measurements, with None the coordinates stay as they are given. `tolerance` is a part of the
    loss.
    """

    def __init__(
        self,
        model: MTP,
        coordinates: Coordinates,
        seed: int | None = None,
        tolerance: float = 0.0,
    ) -> None:
        self.start_P = linear_part(model)
        self.start_P[: len(model.basis.scalars)] = 0.0  # a ridge pulls xi to 0, E0 to where it is
        self.seed, self.tolerance = seed, tolerance
        self.losses, self.measured_at = [], None
        self.passed: list[Tensor] = []  # radial coefficients of the last iterations
        self.held_CCRQ = model.radial_coeffs.detach().cpu().double().clone()
        self._begin(coordinates)

    def _begin(self, coordinates: Coordinates, curvature: float | None = None) -> None:
        self.coordinates = coordinates
        x = coordinates.walkers[RADIAL].detach().reshape(-1)
        self.method = QuasiNewton(x, FIRST_STEP, curvature)
        self.center = coordinates.walker_of(self.held_CCRQ.to(x.device)).reshape(-1)

    def iterate(
        self,
        model: MTP,
        train: WeightedSet,
        coefficients: Mapping[str, float],
        context: WorkerContext,
    ) -> Tensor | None:
        """One iteration; the sums (3, 4) where it ends, or None where it has converged.

        The model goes with it.
        """
        if self._converged:
            self._solve(self.passed[0], model, train, coefficients, context)
            return None
        if self.seed is not None and self._outworn:
            place = (self.seed + len(self.losses), context)
            maps, loss = measured(model, train, coefficients, *place)
            self._begin(Coordinates(model, maps), 2 * loss)
            self.measured_at = len(self.losses)
        labels, found = train.labels(train.everything), {}

        def of_share(share: Share) -> Tensor:
            return own_gradient(model, share, labels, coefficients, "mse")

        def projected(x: Tensor) -> tuple[float, Tensor]:
            self._solve(self._radial(x), model, train, coefficients, context)
            total = sum_in_parts(train, train.everything, size_of(model), context, of_share)
            gradients, found["sums"] = unpacked(model, total)
            slope = self.coordinates.radial_slope(gradients[RADIAL]).reshape(-1)
            away = x - self.center
            held = self.coordinates.hold(away)
            loss = float(weighted(found["sums"], labels, coefficients, "mse"))
            return loss + float(away @ held) / 2, slope + held

        if self.method.iterate(projected):
            self.losses.append(self.method.value)
            self.passed = [*self.passed[-WHILE:], self._radial(self.method.x)]
            return found["sums"]
        self._solve(self._radial(self.method.x), model, train, coefficients, context)
        return None

    @property
    def ended(self) -> str:
        """Why it does."""
        if self._converged:
            return f"the last {WHILE} epochs gained too little and are taken back"
        return "no step lowers the loss"

    @property
    def taken_back(self) -> int:
        """Epochs that are undone where it ends."""
        return WHILE if self._converged else 0

    @property
    def _outworn(self) -> bool:
        """Whether the coordinates are to be found again."""
        if self.measured_at is None:
            return True
        since = self.losses[self.measured_at :]
        fallen = len(since) >= FEWEST and since[-1] < FALLEN * since[0]
        return fallen or len(since) >= MEASURED_FOR

    @property
    def _converged(self) -> bool:
        before = self.losses[-WHILE - 1 :]
        return len(before) > WHILE and before[-1] > (1 - self.tolerance) * before[0]

    def _radial(self, x: Tensor) -> Tensor:
        """Radial coefficients (C, C, R, Q)."""
        return self.coordinates.radial_of(x.reshape(self.held_CCRQ.shape))

    def _solve(
        self,
        radial_CCRQ: Tensor,
        model: MTP,
        train: WeightedSet,
        coefficients: Mapping[str, float],
        context: WorkerContext,
    ) -> None:
        """Give a potential radial coefficients, and the xi and E0 that belong to them."""
        with torch.no_grad():
            model.radial_coeffs.copy_(radial_CCRQ)
        normal = equations(model, train, coefficients, train.everything, context)
        set_linear_part(model, solution(normal, self.start_P, RIDGES[model.dtype]))

    def state_dict(self) -> dict:
        return {
            "coordinates": self.coordinates.state_dict(),
            "start": self.start_P,
            "seed": self.seed,
            "tolerance": self.tolerance,
            "held": self.held_CCRQ,
            "center": self.center,
            "losses": self.losses,
            "passed": self.passed,
            "measured_at": self.measured_at,
            "method": self.method.state_dict(),
        }

    @classmethod
    def of_state(cls, model: MTP, state: dict) -> VariableProjection:
        """The walk that a `state_dict()` was taken of; the model is where it stood."""
        found = cls(model, Coordinates.of_state(model, state["coordinates"]))
        found.start_P = state["start"]
        found.seed, found.tolerance = state["seed"], state["tolerance"]
        found.held_CCRQ, found.center = state["held"], state["center"]
        found.losses, found.measured_at = state["losses"], state["measured_at"]
        found.passed = state["passed"]
        found.method = QuasiNewton.of_state(state["method"])
        return found
