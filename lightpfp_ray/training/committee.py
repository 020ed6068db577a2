"""A committee: potentials trained each by itself, from starts of their own, then their mean.

    V = E0 + xi . B + NN(B),     each of the three the mean over the members

The mean of potentials is one of the same kind. Its basis functions are those of all members side by
side, its xi are divided by the number of members; the hidden layers of networks are block-diagonal,
the last one is divided too. What is linear in it is then solved for once more, by `Opening`: the
members found theirs each over its own basis functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..mtp.levels import side_by_side
from ..mtp.model import MTP

Parameters = Mapping[str, Tensor]


def mean_of(model: MTP, members: Sequence[Parameters]) -> MTP:
    """The potential that predicts the mean of `members`, parameters of potentials as `model`."""
    n, last = len(members), len(model.widths)
    basis, widths = side_by_side(model.basis, n), [n * width for width in model.widths]
    merged = MTP(model.species, basis, model.radial, widths, model.engine)
    merged.to(model.species_coeffs)

    def of_each(name: str) -> list[Tensor]:
        return [parameters[name] for parameters in members]

    found = {
        "radial_coeffs": torch.cat(of_each("radial_coeffs"), dim=2),
        "species_coeffs": torch.stack(of_each("species_coeffs")).mean(0),
        "readout.moment_coeffs": torch.cat(of_each("readout.moment_coeffs")) / n,
    }
    for layer in range(last):
        weight, bias = (f"readout.layers.{layer}.{kind}" for kind in ("weight", "bias"))
        found[weight], found[bias] = torch.block_diag(*of_each(weight)), torch.cat(of_each(bias))
    if last:
        name = f"readout.layers.{last}.weight"
        found[name] = torch.cat(of_each(name), dim=1) / n
    merged.load_state_dict(found)
    return merged
