"""The weights that are shipped: elements, basis and cutoff of each, and the default one under
LightPFP's control file.
"""

import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

from lightpfp_ray import load
from lightpfp_ray.config import parse_control
from lightpfp_ray.errors import UserError
from lightpfp_ray.potential import load_for
from lightpfp_ray.zoo import models
from lightpfp_ray.zoo.organic import ELEMENTS as ORGANIC

from .test_config import LIGHTPFP

ROOT = Path(__file__).resolve().parents[1]
NAME = "ALL_ELEMENTS_SMALL_6"
ALL = {z for z in range(1, 95) if z not in (84, 85, 86, 87, 88)}
MOST_BYTES = 4_200_000
"""Of all weights in a wheel, which has the rest in less than one million."""
SHIPPED = [name for name in models.NAMES if (models.PACKAGED / f"{name}.safetensors").is_file()]


def symbols(name):
    return set(load(name).origin["card"]["elements"])


@pytest.fixture(autouse=True)
def only_what_is_shipped(monkeypatch):
    monkeypatch.delenv(models.FOLDER, raising=False)


def test_all_names_are_shipped_and_small():
    assert models.present() == SHIPPED == list(models.NAMES)
    files = [file for name in SHIPPED for file in models.files_of(name)]
    assert sum(len(zlib.compress(file.read_bytes())) for file in files) < MOST_BYTES


@pytest.mark.parametrize("name", SHIPPED)
def test_a_name_has_the_elements_basis_and_cutoff_that_it_says(name):
    model = load(name).model
    organic = name.startswith("ORGANIC")
    assert symbols(name) == set(ORGANIC) if organic else set(model.species) == ALL
    assert len(symbols(name)) == len(model.species)
    assert model.cutoff == {"5": 5.0, "7": 7.0}.get(name[-1], 6.0)
    large = "LARGE" in name
    assert (len(model.basis.scalars), model.basis.n_radial) == ((92, 4) if large else (27, 7))
    assert bool(model.widths) == ("NN" in name)
    assert model.dtype == torch.float32
    assert all(torch.isfinite(p).all() for p in model.parameters())


@pytest.mark.parametrize("name", SHIPPED)
def test_an_element_outside_is_named(name):
    outside, symbol = (26, "Fe") if name.startswith("ORGANIC") else (84, "Po")
    with pytest.raises(UserError, match=f"was not trained for {symbol}, it knows") as refused:
        load_for(name, (1, outside))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_name_has_a_card_with_a_picture(name):
    card = (ROOT / f"docs/zoo/{name}.md").read_text()
    assert card.startswith(f"# {name}\n")
    assert "CPU hours" in card
    assert (ROOT / f"docs/zoo/{name}.svg").stat().st_size < 40_000


@pytest.mark.parametrize("name", SHIPPED)
def test_forces_are_the_derivative_of_the_energy(name):
    """In float32, of a warm molecule or crystal."""
    atoms = molecule("CH3CH2OH") if name.startswith("ORGANIC") else bulk("NaCl", "rocksalt", a=5.6)
    atoms.rattle(0.05, seed=1)
    atoms.calc = load(name).calculator()
    force, step, energies = atoms.get_forces()[1, 0], 0.01, []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions[1, 0] += sign * step
        moved.calc = atoms.calc
        energies.append(moved.get_potential_energy())
    # float32 sums of some eV have 1e-6 eV, by 0.02 A; the third derivative adds as much
    np.testing.assert_allclose((energies[1] - energies[0]) / (2 * step), force, atol=0.03)


def test_the_control_file_of_lightpfp_begins_at_it():
    """Byte for byte, with the elements of the sample alloy."""
    start = parse_control(LIGHTPFP, "control.json").starts_at
    model = load_for(start, (13, 24, 26, 27, 28))
    assert start == NAME
    assert model.radial_coeffs.shape == (5, 5, 7, 8)


def test_predicting_needs_neither_ray_nor_mlflow_nor_a_teacher():
    code = (
        "import sys; from ase.build import bulk; from lightpfp_ray import load; "
        f"a = bulk('Cu'); a.calc = load('{NAME}').calculator(); a.get_forces(); "
        "sys.exit(any(m in sys.modules for m in ('ray', 'mlflow', 'pydantic', 'chgnet', 'tblite')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
