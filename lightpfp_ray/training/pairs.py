"""Coordinates in which the radial functions of a pair of species share what is of each of the two.

    gamma[z, w] = a[z] + b[w] + OWN o[z, w]

A pair that the structures hold rarely learns from all others of its species; one that they never
hold has a[z] + b[w]. An optimizer walks in a, b and o together: there are more of them than
parameters, and the shared parts move first.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..mtp.model import MTP
from .coordinates import RADIAL, Coordinates

CENTER, NEIGHBOR = "radial_center", "radial_neighbor"

OWN = 0.3
"""How far a pair goes its own way while the parts of its species go 1."""


class SharedPairs(Coordinates):
    """The walkers of `Coordinates`, with a and b beside o in place of gamma."""

    def _of(self, model: MTP) -> dict[str, Tensor]:
        found = super()._of(model)
        center, neighbor, own = parts_of(found[RADIAL])
        return found | {RADIAL: own / OWN, CENTER: center, NEIGHBOR: neighbor}

    def parameters(self) -> dict[str, Tensor]:
        made = super().parameters()
        shared = (made.pop(CENTER) + made.pop(NEIGHBOR)) @ self.maps.radial_QQ
        made[RADIAL] = OWN * made[RADIAL] + shared
        return made


def parts_of(radial_CCRQ: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """a (C, 1, R, Q), b (1, C, R, Q) and the rest (C, C, R, Q), which has mean 0 over either
    species.
    """
    center = radial_CCRQ.mean(1, keepdim=True)
    neighbor = radial_CCRQ.mean(0, keepdim=True) - center.mean(0, keepdim=True)
    return center, neighbor, radial_CCRQ - center - neighbor


def keep_shared(model: MTP) -> None:
    """Leave of the radial functions only what the pairs share."""
    center, neighbor, _ = parts_of(model.radial_coeffs.detach())
    with torch.no_grad():
        model.radial_coeffs.copy_(center + neighbor)
