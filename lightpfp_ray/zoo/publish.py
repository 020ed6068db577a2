"""A trained potential becomes a pretrained model: NAME.json, the head with the card of the model,
and NAME.safetensors in float32, packed (`packing`).
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ..potential import Potential
from .packing import encoded


def publish(potential: Potential, folder: Path, name: str, card: Mapping[str, Any]) -> None:
    """Write the files of a pretrained model. `card`: what its card says, under `card` in the
    origin.
    """
    folder.mkdir(parents=True, exist_ok=True)
    small = replace(
        potential,
        model=deepcopy(potential.model).to(torch.float32),
        origin={**potential.origin, "card": dict(card)},
    )
    small.write(folder / f"{name}.json", folder / f"{name}.safetensors", encoded)
