"""LightPFP's HDF5: one group a structure ('000000', '000001', ...).

Datasets `cell (3, 3)`, `numbers (N)`, `pbc (3)`, `positions (N, 3)`, and the labels
`potential_energy ()` (total, eV), `forces (N, 3)`, `stress (6)` (Voigt, eV/A^3, positive under
tension); a label may be absent. `weight`, `group` and `teacher` are attributes of the group, where
they differ from 1, "" and "".
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from ..keys import Keys, Refused, chosen, teacher_of
from ..structure import Structure
from .text import MAX_ATOMS, Parts, even_blocks

PATTERNS = ("*.h5", "*.hdf5")
MAGIC = b"\x89HDF\r\n\x1a\n"


def read(path: Path, part: tuple[int, int] | None, keys: Keys) -> Iterator[Structure]:
    """Structures of a file in the order of the groups' names; `part` counts them."""
    with h5py.File(path, "r") as file:
        names = sorted(file)
        for name in names[part[0] : sum(part)] if part else names:
            yield _structure(file, name, keys)


def parts(path: Path, size: int) -> Parts:
    """Blocks of groups, counted from 0; the size of the first is taken for that of all."""
    with h5py.File(path, "r") as file:
        names = sorted(file)
        atoms = len(_array(file[names[0]], "numbers", 1)) if names else 0
        return even_blocks(len(names), atoms, size)


def _structure(file: h5py.File, name: str, keys: Keys) -> Structure:
    group = file.get(name) if isinstance(file.get(name, getlink=True), h5py.HardLink) else None
    if not isinstance(group, h5py.Group):
        raise Refused(f"{name!r} is no group of a structure: give a file as LightPFP writes it")
    numbers = _array(group, "numbers", 1)
    count = len(numbers)
    energy = chosen("energy", dict.fromkeys(group), keys)
    forces = chosen("forces", dict.fromkeys(group), keys)
    stress = chosen("stress", dict.fromkeys(group), keys)
    weight = float(group.attrs.get(keys.weight or "weight", 1.0))
    return Structure(
        numbers=numbers.astype(np.int64),
        positions=_floats(group, "positions", (count, 3)),
        cell=_floats(group, "cell", (3, 3)),
        pbc=_floats(group, "pbc", (3,)).astype(bool),
        energy=None if energy is None else float(_floats(group, energy, ())),
        forces=None if forces is None else _floats(group, forces, (count, 3)),
        stress=None if stress is None else _floats(group, stress, (6,)),
        weight=weight,
        group=str(group.attrs.get(keys.group or "group", "")),
        teacher=teacher_of(group.attrs),
    )


def _array(group: h5py.Group, name: str, dimensions: int) -> np.ndarray:
    """Integers or booleans of a dataset."""
    dataset = _dataset(group, name)
    if len(dataset.shape) != dimensions or dataset.dtype.kind not in "iub":
        raise Refused(
            f"{group.name}/{name} holds {dataset.dtype} {dataset.shape}, {dimensions} dimension of "
            "integers expected: write the file again"
        )
    return dataset[()]


def _floats(group: h5py.Group, name: str, shape: tuple[int, ...]) -> np.ndarray:
    dataset = _dataset(group, name)
    squeezed = (1,) if shape == () and dataset.shape == (1,) else shape
    if dataset.shape != squeezed or dataset.dtype.kind not in "iufb":
        raise Refused(
            f"{group.name}/{name} holds {dataset.dtype} {dataset.shape}, numbers of shape {shape} "
            "expected: write the file again"
        )
    return np.asarray(dataset[()], np.float64).reshape(shape)


def _dataset(group: h5py.Group, name: str) -> h5py.Dataset:
    dataset = group.get(name)
    if not isinstance(dataset, h5py.Dataset):
        raise Refused(f"no dataset {group.name}/{name} found: give a file as LightPFP writes it")
    if dataset.shape is None or dataset.size > 3 * MAX_ATOMS or dataset.external:
        raise Refused(f"{group.name}/{name} holds no table of atoms: write the file again")
    return dataset
