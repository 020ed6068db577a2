"""One update: the gradient summed over workers, and Adam's step of the walkers.

Every worker sums the loss and its gradient over its share of the batch; one all-reduce of one
float64 vector; then each makes the same step. Two workers give the parameters of one.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..mtp.model import MTP
from .batches import Share
from .context import WorkerContext
from .coordinates import Coordinates
from .loss import Labels, sums, weighted
from .pairs import CENTER, SharedPairs

N_SUMS = 12

LINEAR_RATE, PLAIN_RATE = 2.0, 0.1
NETWORK_RATE, NETWORK_RADIAL_RATE, NETWORK_PLAIN_RATE = 0.1, 1.0, 0.3
"""Learning rates of the walkers in units of the stage's: with a linear readout; with a network, and
of the radial functions under it. PLAIN: where the radial functions have no units of the loss, since
pairs share them or nothing is whitened. A network does not converge with the rate that is best for
a linear readout.
"""


def gradient(
    model: MTP,
    share: Share,
    coefficients: Mapping[str, float],
    power: str,
    context: WorkerContext,
) -> tuple[dict[str, Tensor], Tensor]:
    """Gradient of the loss of a batch by every parameter, float64, and its sums (3, 4).

    `share` is the worker's, its labels are those of the whole batch. The same on each worker.
    """
    flat = own_gradient(model, share, share.labels, coefficients, power)
    return unpacked(model, context.sum_over_workers(flat))


def own_gradient(
    model: MTP, share: Share, labels: Labels, coefficients: Mapping[str, float], power: str
) -> Tensor:
    """What some structures add to gradient and sums, in one vector, float64."""
    model.zero_grad(set_to_none=True)
    own = sums(model(share.batch, training=True), share.batch, share.weights_S3)
    weighted(own, labels, coefficients, power).backward()
    gradients = [
        torch.zeros_like(p).reshape(-1) if p.grad is None else p.grad.reshape(-1)
        for p in model.parameters()
    ]
    return torch.cat([*(g.double() for g in gradients), own.detach().reshape(-1)])


def size_of(model: MTP) -> int:
    """Numbers in such a vector."""
    return sum(p.numel() for p in model.parameters()) + N_SUMS


def unpacked(model: MTP, flat: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """Gradient by name of the parameter, and sums (3, 4)."""
    named = dict(model.named_parameters())
    pieces = flat[:-N_SUMS].split([p.numel() for p in named.values()])
    found = {
        name: piece.reshape(p.shape) for (name, p), piece in zip(named.items(), pieces, strict=True)
    }
    return found, flat[-N_SUMS:].reshape(3, 4)


def _rate(name: str, network: bool, measured: bool) -> float:
    """Of a walker, by the name of the parameter that it makes."""
    if not network:
        return LINEAR_RATE if measured else PLAIN_RATE
    if not name.startswith("radial"):
        return NETWORK_RATE
    return NETWORK_RADIAL_RATE if measured else NETWORK_PLAIN_RATE


class AdamWalk:
    """Adam on the walkers of some coordinates."""

    def __init__(self, model: MTP, coordinates: Coordinates) -> None:
        self.coordinates = coordinates
        kind = (bool(model.widths), coordinates.measured)
        groups = [
            {"params": [walker], "rate": _rate(name, *kind)}
            for name, walker in coordinates.walkers.items()
        ]
        self.adam = torch.optim.AdamW(groups, weight_decay=0.0, fused=True)

    def decay(self, part: float) -> None:
        """Let the weights of a network's layers shrink, by this times the stage's learning rate a
        step.
        """
        for name, group in zip(self.coordinates.walkers, self.adam.param_groups, strict=True):
            if "layers" in name and name.endswith("weight"):
                group["weight_decay"] = part / NETWORK_RATE

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
        kind = SharedPairs if CENTER in state["coordinates"]["walkers"] else Coordinates
        found = cls(model, kind.of_state(model, state["coordinates"]))
        found.adam.load_state_dict(state["adam"])
        found.coordinates.apply(model)
        return found
