"""L-BFGS, one iteration a call, with a state that can be kept.

    d = -H g, H from the last steps s and changes of the gradient y (Nocedal and Wright, alg. 7.4)
    x <- x + t d, t = 1 or less until f(x + t d) <= f(x) + ARMIJO t g d

A step without curvature (s y <= 0) is not remembered.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

MEMORY = 100
ARMIJO = 1e-4
TRIES = 12
"""Steps tried along one direction; each at most a half of the one before."""

Function = Callable[[Tensor], tuple[float, Tensor]]
"""x (P) -> value and gradient (P)."""


class QuasiNewton:
    """Minimizes a function of a vector; `value` and `gradient` are those at `x`. The first step is
    g / `curvature` where that is known, else of the length `first_step`.
    """

    def __init__(self, x_P: Tensor, first_step: float, curvature: float | None = None) -> None:
        self.x, self.first_step, self.curvature, self.length = x_P, first_step, curvature, 0.0
        self.value: float | None = None
        self.gradient: Tensor | None = None
        self.steps: list[Tensor] = []
        self.changes: list[Tensor] = []

    def iterate(self, function: Function) -> bool:
        """One step down; False where none is found, also along the gradient."""
        if self.gradient is None:
            self.value, self.gradient = function(self.x)
        if self._step(function):
            return True
        if not self.steps:
            return False
        self.steps, self.changes = [], []
        return self._step(function)

    def _step(self, function: Function) -> bool:
        direction = self._direction()
        slope = float(direction @ self.gradient)
        if not slope < 0:
            return False
        t = 1.0
        for _ in range(TRIES):
            x = self.x + t * direction
            value, gradient = function(x)
            if value <= self.value + ARMIJO * t * slope:
                self._remember(x - self.x, gradient - self.gradient)
                self.x, self.value, self.gradient, self.length = x, value, gradient, t
                return True
            parabola = -slope * t / (2 * (value - self.value - t * slope))
            t *= min(0.5, max(0.1, parabola)) if parabola == parabola else 0.1
        return False

    def _remember(self, step: Tensor, change: Tensor) -> None:
        if float(step @ change) > 1e-10 * float(step.norm() * change.norm()):
            self.steps = [*self.steps, step][-MEMORY:]
            self.changes = [*self.changes, change][-MEMORY:]

    def _direction(self) -> Tensor:
        """-H g by the two loops over the memory."""
        if not self.steps:
            if self.curvature:
                return -self.gradient / self.curvature
            return -self.first_step * self.gradient / self.gradient.norm().clamp(min=1e-300)
        d, kept = -self.gradient, []
        for s, y in zip(reversed(self.steps), reversed(self.changes), strict=True):
            a = (s @ d) / (s @ y)
            d = d - a * y
            kept.append(a)
        s, y = self.steps[-1], self.changes[-1]
        d = d * ((s @ y) / (y @ y))
        for s, y, a in zip(self.steps, self.changes, reversed(kept), strict=True):
            d = d + s * (a - (y @ d) / (s @ y))
        return d

    def state_dict(self) -> dict:
        return dict(vars(self))

    @classmethod
    def of_state(cls, state: dict) -> QuasiNewton:
        found = cls(state["x"], state["first_step"])
        vars(found).update(state)
        return found
