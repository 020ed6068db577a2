"""The weights of a pretrained model in a third of their size: the radial coefficients as whole
numbers, in an order that a wheel's deflate makes small.

    gamma[z, w, mu, q] = step[mu] n[z, w, mu, q],     n = center[z] + neighbor[w] + own[z, w]

step is the power of two at or below rms(gamma[mu]) / 2^BITS, so that the product is exact in
float32. What species share stands apart, which leaves small numbers to the pairs. In the
safetensors file, beside the other parameters as they are:

    radial_coeffs.step       (R)            float32
    radial_coeffs.center     (R, Q, C, 1)   int32
    radial_coeffs.neighbor   (R, Q, 1, C)   int32
    radial_coeffs.own        (P, R, Q, C, C) uint8: bytes of k = 2 own, or -2 own - 1 where own < 0,
                                             the lowest first, all numbers' of one rank together

and in its metadata `packing`: the version of this and the CRC-32 of names and tensors in the order
of the names, "1 89abcdef". A file without it holds all parameters as they are; so does one of few
species, which is small.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from ..errors import UserError

RADIAL = "radial_coeffs"
STEP, CENTER, NEIGHBOR, OWN = (f"{RADIAL}.{part}" for part in ("step", "center", "neighbor", "own"))

PACKING, VERSION = "packing", "1"

BITS = 10
"""Errors in energy of the models of 89 elements change by at most 0.5 % of themselves, in forces by
less than 0.1 % (docs/zoo/README.md).
"""

FEW = 2**16
"""Radial coefficients that are not worth rounding."""


def encoded(state: Mapping[str, Tensor]) -> bytes:
    """A safetensors file of a float32 state, packed where that is worth it. Raises UserError for
    parameters that are not numbers.
    """
    if not all(tensor.isfinite().all() for tensor in state.values()):
        raise UserError("the potential has parameters that are not finite: train it anew")
    if state[RADIAL].numel() < FEW:
        return save(dict(state))
    tensors = {name: t for name, t in state.items() if name != RADIAL} | _packed(state[RADIAL])
    return save(tensors, {PACKING: f"{VERSION} {_crc32(tensors)}"})


def read(file: Path) -> dict[str, Tensor]:
    """The state in a file, packed or not. Raises UserError for one of a later version or damaged,
    and what safetensors raises for what is none of its files.
    """
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata() or {}
        state = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    if PACKING not in metadata:
        return state
    version, _, crc32 = metadata[PACKING].partition(" ")
    if version != VERSION:
        raise UserError(
            f"{file}: packing {version} found, this version reads {VERSION}: use a newer "
            "lightpfp_ray"
        )
    if crc32 != _crc32(state):
        raise UserError(f"{file} is damaged: its content has another checksum: install it anew")
    parts = [state.pop(name) for name in (STEP, CENTER, NEIGHBOR, OWN)]
    return state | {RADIAL: _unpacked(*parts)}


def _packed(radial_CCRQ: Tensor) -> dict[str, Tensor]:
    radial_RQCC = radial_CCRQ.double().permute(2, 3, 0, 1)
    rms_R = radial_RQCC.square().mean((1, 2, 3)).sqrt()
    step_R = torch.where(rms_R > 0, rms_R, 1.0).log2().sub(BITS).floor().exp2()
    n_RQCC = (radial_RQCC / step_R[:, None, None, None]).round()
    center = n_RQCC.mean(3, keepdim=True).round()
    neighbor = (n_RQCC - center).mean(2, keepdim=True).round()
    own = (n_RQCC - center - neighbor).int()
    planes = torch.where(own < 0, -2 * own - 1, 2 * own)[..., None].contiguous().view(torch.uint8)
    most = planes.flatten(0, -2).amax(0)
    return {
        STEP: step_R.float(),
        CENTER: center.int(),
        NEIGHBOR: neighbor.int(),
        OWN: planes.movedim(-1, 0)[: int(most.count_nonzero())].contiguous(),
    }


def _unpacked(step_R: Tensor, center: Tensor, neighbor: Tensor, own: Tensor) -> Tensor:
    """Radial coefficients (C, C, R, Q), float32."""
    k = sum(plane.int() << 8 * rank for rank, plane in enumerate(own))
    n_RQCC = center + neighbor + ((k >> 1) ^ -(k & 1))
    return (n_RQCC.float() * step_R[:, None, None, None]).permute(2, 3, 0, 1).contiguous()


def _crc32(tensors: Mapping[str, Tensor]) -> str:
    crc = 0
    for name in sorted(tensors):
        crc = zlib.crc32(tensors[name].numpy().tobytes(), zlib.crc32(name.encode(), crc))
    return f"{crc:08x}"
