"""A committee: networks over the same basis functions, each trained by itself, then their mean.

    V = E0 + xi . B + NN(B),     each of the three the mean over the members

The mean of networks is one network of the same kind, whose hidden layers lie beside each other: the
first sees the basis functions in all members, the others are block-diagonal, and the last one is
divided by the number of members. It costs as much more as the network is wider; basis functions and
radial functions are those of one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..mtp.model import MTP
from .start import start_network

Parameters = Mapping[str, Tensor]


def begin_member(model: MTP, seed: int, member: int) -> None:
    """Give a potential the random network of a further member; its radial functions stay."""
    with torch.no_grad():
        model.readout.moment_coeffs.zero_()
        start_network(model, torch.Generator().manual_seed(seed + member))


def mean_of(model: MTP, members: Sequence[Parameters]) -> MTP:
    """The potential that predicts the mean of `members`, parameters of potentials as `model`, whose
    radial functions are the same; of one member that potential.
    """
    n, last = len(members), len(model.widths)
    widths = [n * width for width in model.widths]
    merged = MTP(model.species, model.basis, model.radial, widths, model.engine)
    merged.to(model.species_coeffs)

    def of_each(name: str) -> list[Tensor]:
        return [parameters[name] for parameters in members]

    found = {"radial_coeffs": of_each("radial_coeffs")[0]}
    for name in ("species_coeffs", "readout.moment_coeffs"):
        found[name] = torch.stack(of_each(name)).mean(0)
    for layer in range(last):
        weight, bias = (f"readout.layers.{layer}.{kind}" for kind in ("weight", "bias"))
        beside = torch.block_diag if layer else lambda *weights: torch.cat(weights)
        found[weight], found[bias] = beside(*of_each(weight)), torch.cat(of_each(bias))
    name = f"readout.layers.{last}.weight"
    found[name] = torch.cat(of_each(name), 1) / n
    merged.load_state_dict(found)
    return merged
