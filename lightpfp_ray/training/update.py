"""One update: the gradient summed over workers, and Adam's step of the walkers.

Every worker sums the loss and its gradient over its share of the batch; one all-reduce of one
float64 vector; then each makes the same step. Two workers give the parameters of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from ..mtp.model import MTP
from .batches import Share
from .context import WorkerContext
from .coordinates import Coordinates
from .loss import Labels, sums, weighted

RATES = {"radial_coeffs": 0.1, "species_coeffs": 0.1, "readout": 0.1}
"""Learning rate of each group of walkers, in units of the stage's."""


def gradient(
    model: MTP,
    shares: Iterable[Share],
    labels: Labels,
    coefficients: Mapping[str, float],
    power: str,
    context: WorkerContext,
) -> tuple[dict[str, Tensor], Tensor]:
    """Gradient of the loss of some structures by every parameter, float64, and their sums (3, 4).

    `shares` are the worker's, `labels` those of all workers. The same on each of them.
    """
    model.zero_grad(set_to_none=True)
    own = torch.zeros(3, 4, dtype=torch.float64, device=context.device)
    for share in shares:
        part = sums(model(share.batch, training=True), share.batch, share.weights_S3)
        weighted(part, labels, coefficients, power).backward()
        own += part.detach()
    named = dict(model.named_parameters())
    gradients = [
        torch.zeros_like(p).reshape(-1) if p.grad is None else p.grad.reshape(-1)
        for p in named.values()
    ]
    flat = torch.cat([g.double() for g in gradients] + [own.reshape(-1)])
    flat = context.sum_over_workers(flat)
    pieces = flat[: -own.numel()].split([p.numel() for p in named.values()])
    found = {
        name: piece.reshape(p.shape) for (name, p), piece in zip(named.items(), pieces, strict=True)
    }
    return found, flat[-own.numel() :].reshape(own.shape)


class AdamWalk:
    """Adam on the walkers of some coordinates."""

    def __init__(self, model: MTP, coordinates: Coordinates) -> None:
        self.coordinates = coordinates
        self.adam = torch.optim.Adam(
            {"params": [walker], "rate": RATES[name.split(".")[0]]}
            for name, walker in coordinates.walkers.items()
        )

    def step(self, model: MTP, gradients: dict[str, Tensor], rate: float) -> None:
        """Move the walkers against a gradient, and the model with them."""
        self.coordinates.set_gradients(gradients)
        for group in self.adam.param_groups:
            group["lr"] = rate * group["rate"]
        self.adam.step()
        self.coordinates.apply(model)

    def state_dict(self) -> dict:
        return {"coordinates": self.coordinates.state_dict(), "adam": self.adam.state_dict()}

    @classmethod
    def of_state(cls, model: MTP, state: dict) -> AdamWalk:
        """The walk that a `state_dict()` was taken of; the model goes where it stood."""
        found = cls(model, Coordinates.of_state(model, state["coordinates"]))
        found.adam.load_state_dict(state["adam"])
        found.coordinates.apply(model)
        return found
