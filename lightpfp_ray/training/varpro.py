"""Variable projection: xi and E0 are eliminated by least squares, a quasi-Newton method moves the
radial coefficients; an epoch is one of its iterations over the whole training set.

    f(gamma) = min_x L(gamma, x),     df/dgamma = dL/dgamma at that x     (Golub and Pereyra 1973)
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..mtp.model import MTP
from .batches import Share, WeightedSet
from .context import WorkerContext
from .coordinates import RADIAL, Coordinates
from .linear import RIDGES, equations, linear_part, set_linear_part, solution
from .loss import weighted
from .parts import sum_in_parts
from .quasi_newton import QuasiNewton
from .update import own_gradient, size_of, unpacked

FIRST_STEP = 0.1
"""Length of the first step, in coordinates where a radial function has size 1."""


class VariableProjection:
    """The walk of a stage with a linear readout and a mean squared loss."""

    def __init__(self, model: MTP, coordinates: Coordinates) -> None:
        self.coordinates = coordinates
        self.start_P = linear_part(model)
        self.start_P[: len(model.basis.scalars)] = 0.0  # a ridge pulls xi to 0, E0 to where it is
        self.method = QuasiNewton(coordinates.walkers[RADIAL].detach().reshape(-1), FIRST_STEP)

    def iterate(
        self,
        model: MTP,
        train: WeightedSet,
        coefficients: Mapping[str, float],
        context: WorkerContext,
    ) -> Tensor | None:
        """One iteration; the sums (3, 4) where it ends, or None where no lower loss was found.

        The model goes with it.
        """
        labels, found = train.labels(train.everything), {}

        def of_share(share: Share) -> Tensor:
            return own_gradient(model, share, labels, coefficients, "mse")

        def projected(x: Tensor) -> tuple[float, Tensor]:
            self._solve(x, model, train, coefficients, context)
            total = sum_in_parts(train, train.everything, size_of(model), context, of_share)
            gradients, found["sums"] = unpacked(model, total)
            slope = self.coordinates.radial_slope(gradients[RADIAL]).reshape(-1)
            return float(weighted(found["sums"], labels, coefficients, "mse")), slope

        if self.method.iterate(projected):
            return found["sums"]
        self._solve(self.method.x, model, train, coefficients, context)
        return None

    def _solve(
        self,
        x: Tensor,
        model: MTP,
        train: WeightedSet,
        coefficients: Mapping[str, float],
        context: WorkerContext,
    ) -> None:
        """Radial coefficients of x, and the xi and E0 that belong to them."""
        with torch.no_grad():
            coeffs = model.radial_coeffs
            coeffs.copy_(self.coordinates.radial_of(x.reshape(coeffs.shape)))
        normal = equations(model, train, coefficients, train.everything, context)
        set_linear_part(model, solution(normal, self.start_P, RIDGES[model.dtype]))

    def state_dict(self) -> dict:
        return {
            "coordinates": self.coordinates.state_dict(),
            "start": self.start_P,
            "method": self.method.state_dict(),
        }

    @classmethod
    def of_state(cls, model: MTP, state: dict) -> VariableProjection:
        """The walk that a `state_dict()` was taken of; the model is where it stood."""
        found = cls(model, Coordinates.of_state(model, state["coordinates"]))
        found.start_P = state["start"]
        found.method = QuasiNewton.of_state(state["method"])
        return found
