"""Energies, forces and stress of MLIP-3's potentials, where its vectors stand beside the
repository.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from ase.io import read

from lightpfp_ray import load

REFERENCE = Path(__file__).parents[2] / "shared" / "reference"
NAMES = sorted(p.stem for p in REFERENCE.glob("*.json"))

pytestmark = pytest.mark.skipif(
    not NAMES, reason="reference vectors of MLIP-3 are not beside this checkout"
)


@pytest.mark.filterwarnings("ignore:two atoms are")  # the frames close_pair
@pytest.mark.parametrize("name", NAMES or ["absent"])
def test_potential_gives_what_the_reference_code_gives(name):
    species = [
        s["atomic_number"] for s in json.loads((REFERENCE / f"{name}.json").read_text())["species"]
    ]
    calculator = load(REFERENCE / f"{name}.almtp", species).calculator()
    for atoms in read(REFERENCE / f"{name}.extxyz", ":"):
        calculator.calculate(atoms)
        got, expected = calculator.results, atoms.calc.results
        assert abs(got["energy"] - expected["energy"]) < 1e-9
        np.testing.assert_allclose(got["forces"], expected["forces"], atol=1e-9)
        if atoms.pbc.all():
            np.testing.assert_allclose(got["stress"], expected["stress"], atol=1e-9)
