"""VASP's OUTCAR and vasprun.xml: every ionic step, read step by step.

    energy = energy(sigma->0), as ASE takes it; --key energy=free_energy takes TOTEN instead
    stress = -(in kB) * 0.1 GPa        VASP counts compression as positive

OUTCAR orders a stress xx yy zz xy yz zx; vasprun.xml writes the 3x3 tensor. What VASP could not
print (****) is NaN, so that the structure is skipped with a reason.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers

from ...units import GPA_PER_EV_A3, voigt_from_matrix
from ..keys import Keys, Refused, energy_of
from ..structure import Structure
from .text import Parts, even_blocks, lines_of, opened

OUTCAR_PATTERNS = ("OUTCAR", "OUTCAR.*", "OUTCAR_*", "*.OUTCAR")
XML_PATTERNS = ("vasprun*.xml", "*.vasprun.xml")

KILOBAR = 0.1 / GPA_PER_EV_A3
"""eV/A^3."""

_PERIODIC = np.ones(3, bool)
_OUTCAR_ORDER = [0, 1, 2, 4, 5, 3]
"""Of xx yy zz xy yz zx, the components in Voigt's order."""

_NUMBER = re.compile(rb"[-+]?\d+\.\d*(?:[eE][-+]?\d+)?|\*+|NaN", re.IGNORECASE)


@dataclass
class _Step:
    """What was seen so far of an ionic step."""

    cell: np.ndarray
    stress: np.ndarray | None = None
    positions: np.ndarray | None = None
    forces: np.ndarray | None = None
    free_energy: float | None = None


def read_outcar(path: Path, part: tuple[int, int] | None, keys: Keys) -> Iterator[Structure]:
    """Ionic steps of an OUTCAR; `part` counts them. An unfinished last step is left out."""
    start, stop = (part[0], sum(part)) if part else (0, None)
    with opened(path) as file:
        yield from islice(_outcar_steps(file, keys), start, stop)


def outcar_parts(path: Path, size: int) -> Parts:
    """Blocks of ionic steps, found by the lines that end them."""
    atoms = count = 0
    with opened(path) as file:
        for line in file:
            if b"ions per type" in line:
                atoms = sum(_integers(line))
            count += b"energy(sigma->0)" in line and b"energy  without entropy" in line
    return even_blocks(_ionic(path) if count else 0, atoms, size)


def _ionic(path: Path) -> int:
    with opened(path) as file:
        return sum(b"FREE ENERGIE OF THE ION-ELECTRON SYSTEM" in line for line in file)


def _outcar_steps(file: Iterable[bytes], keys: Keys) -> Iterator[Structure]:
    symbols: list[str] = []
    counts: list[int] = []
    step, ended = _Step(np.full((3, 3), np.nan)), False
    for line in file:
        if b"POTCAR:" in line and not counts:
            symbols.append(_symbol(line))
        elif b"ions per type" in line:
            counts = _integers(line)
        elif b"direct lattice vectors" in line:
            step.cell = np.array([_numbers(row, 6)[:3] for row in lines_of(file, 3)])
        elif b"in kB " in line:
            step.stress = -KILOBAR * np.array(_numbers(line, 6))[_OUTCAR_ORDER]
        elif b"POSITION" in line and b"TOTAL-FORCE" in line:
            rows = lines_of(file, sum(counts) + 1)[1:]
            table = np.array([_numbers(row, 6) for row in rows]).reshape(-1, 6)
            step.positions, step.forces = table[:, :3], table[:, 3:]
        elif b"FREE ENERGIE OF THE ION-ELECTRON SYSTEM" in line:
            ended = True
        elif ended and b"free  energy   TOTEN" in line:
            step.free_energy = _numbers(line, 1)[0]
        elif ended and b"energy(sigma->0)" in line:
            yield _outcar_structure(step, symbols, counts, _numbers(line, 2)[-1], keys)
            step, ended = _Step(step.cell), False


def _outcar_structure(
    step: _Step, symbols: list[str], counts: list[int], energy: float, keys: Keys
) -> Structure:
    named = symbols[: len(counts)]
    if len(named) < len(counts) or not counts:
        raise Refused(f"{len(symbols)} POTCAR lines found, one an element of {counts} expected")
    if step.positions is None:
        raise Refused("a step without POSITION and TOTAL-FORCE found: give a whole OUTCAR")
    numbers = np.repeat([atomic_numbers[name] for name in named], counts)
    return _structure(numbers, step, {"energy": energy, "free_energy": step.free_energy}, keys)


def _structure(numbers: np.ndarray, step: _Step, energies: dict, keys: Keys) -> Structure:
    return Structure(
        numbers=numbers.astype(np.int64),
        positions=step.positions,
        cell=step.cell,
        pbc=_PERIODIC.copy(),
        energy=energy_of(energies, keys),
        forces=step.forces,
        stress=step.stress,
    )


def _symbol(line: bytes) -> str:
    """Element of a POTCAR line: "POTCAR: PAW_PBE Fe_pv 02Aug2007", "POTCAR: H 1/r potential"."""
    words = line.decode(errors="replace").split()
    word = words[1] if "1/r" in words else words[2] if len(words) > 2 else ""
    found = re.match(r"[A-Z][a-z]?", word.split("_")[0])
    if not found or found[0] not in atomic_numbers:
        raise Refused(f"no element found in {' '.join(words)[:60]!r}")
    return found[0]


def _integers(line: bytes) -> list[int]:
    return [int(word) for word in line.split(b"=")[-1].split()]


def _numbers(line: bytes, count: int) -> list[float]:
    """Numbers of a Fortran line, also where they touch each other."""
    words = _NUMBER.findall(line.split(b"in kB")[-1])
    if len(words) < count:
        raise Refused(
            f"{line.strip()[:60].decode(errors='replace')!r} found, {count} numbers expected"
        )
    return [float("nan") if word.startswith(b"*") else float(word) for word in words]


def read_xml(path: Path, part: tuple[int, int] | None, keys: Keys) -> Iterator[Structure]:
    """Ionic steps of a vasprun.xml; `part` counts them. A file that ends within a step, as of a
    job that was stopped, gives the steps before.
    """
    start, stop = (part[0], sum(part)) if part else (0, None)
    with opened(path) as file:
        yield from islice(_xml_steps(file, keys), start, stop)


def xml_parts(path: Path, size: int) -> Parts:
    """Blocks of ionic steps, found by the tags that end them."""
    with opened(path) as file:
        count = sum(line.count(b"</calculation>") for line in file)
    atoms = 0
    with opened(path) as file:
        for line in file:
            if found := re.search(rb"<atoms>\s*(\d+)\s*</atoms>", line):
                atoms = int(found[1])
                break
    return even_blocks(count, atoms, size)


def _xml_steps(file: Iterable[bytes], keys: Keys) -> Iterator[Structure]:
    numbers, external = np.zeros(0, np.int64), 0.0
    steps = 0
    try:
        for _, element in ElementTree.iterparse(file, ["end"]):
            if element.tag == "atominfo":
                rows = element.findall("array[@name='atoms']/set/rc")
                numbers = np.array([_number_of(row[0].text or "") for row in rows], np.int64)
            elif element.tag == "i" and element.get("name") == "PSTRESS":
                external = float(element.text or 0)
            elif element.tag == "calculation":
                yield _xml_structure(element, numbers, external, keys)
                steps += 1
            elif element.tag not in ("dos", "eigenvalues", "projected"):
                continue
            element.clear()
    except ElementTree.ParseError:
        if steps == 0:
            raise


def _xml_structure(
    step: ElementTree.Element, numbers: np.ndarray, external: float, keys: Keys
) -> Structure:
    cell = _rows(step, "structure/crystal/varray[@name='basis']", 3)
    scaled = _rows(step, "structure/varray[@name='positions']", len(numbers))
    stress = _rows(step, "varray[@name='stress']", 3)
    if cell is None or scaled is None:
        raise Refused("a calculation without its structure found: give a whole vasprun.xml")
    found = _Step(
        cell=cell,
        positions=scaled @ cell,
        forces=_rows(step, "varray[@name='forces']", len(numbers)),
        stress=None if stress is None else voigt_from_matrix(-KILOBAR * stress),
    )
    return _structure(numbers, found, _xml_energies(step, external, cell), keys)


def _xml_energies(step: ElementTree.Element, external: float, cell: np.ndarray) -> dict:
    """VASP writes the enthalpy as e_fr_energy of a step, and a wrong e_0_energy beside it: the
    last electronic step has the difference of the two (ASE merge request 2685).
    """
    free = _energy(step, "energy/i[@name='e_fr_energy']")
    if free is None:
        return {}
    free -= external * KILOBAR * abs(np.linalg.det(cell))
    electronic = step.findall("scstep/energy")
    if not electronic:
        return {"free_energy": free}
    zero, last = (_energy(electronic[-1], f"i[@name='{n}']") for n in ("e_0_energy", "e_fr_energy"))
    if zero is None or last is None:
        return {"free_energy": free}
    return {"energy": free + zero - last, "free_energy": free}


def _energy(element: ElementTree.Element, where: str) -> float | None:
    found = element.find(where)
    return None if found is None else _number(found.text or "")


def _rows(element: ElementTree.Element, where: str, count: int) -> np.ndarray | None:
    found = element.find(where)
    if found is None:
        return None
    rows = [[_number(word) for word in (row.text or "").split()] for row in found]
    if len(rows) != count or any(len(row) != 3 for row in rows):
        raise Refused(f"{len(rows)} rows of three found, {count} expected in {where}")
    return np.array(rows).reshape(-1, 3)


def _number(word: str) -> float:
    return float("nan") if "*" in word else float(word)


def _number_of(symbol: str) -> int:
    name = symbol.strip()
    if name not in atomic_numbers:
        raise Refused(f"unknown element {name!r}: correct the file")
    return atomic_numbers[name]
