"""MLIP's files: what is written is valid in the codes that read it, and reads back bit for bit."""

import json

import numpy as np
import pytest
import torch
from ase.io import read
from click.testing import CliRunner

from lightpfp_ray import Potential, load
from lightpfp_ray.cli import commands
from lightpfp_ray.errors import UserError
from lightpfp_ray.mlip_format import read_mtp, write_mtp
from lightpfp_ray.mtp.levels import Levels, make_basis
from lightpfp_ray.mtp.model import MTP, RadialShape
from lightpfp_ray.potential import load_for

from .test_laws import energy, evaluate, potential, structure
from .test_reference import NAMES, REFERENCE

needs_reference = pytest.mark.skipif(
    not NAMES, reason="reference vectors of MLIP-3 are not beside this checkout"
)


def random_model(levels, species=(14,)):
    torch.manual_seed(3)
    model = MTP(species, make_basis(levels), RadialShape(4.0, 1.5, 6, 0.07))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return model


def reference(name):
    """Path and species of a reference potential, and its frames."""
    head = json.loads((REFERENCE / f"{name}.json").read_text())
    species = [s["atomic_number"] for s in head["species"]]
    return REFERENCE / f"{name}.almtp", species, read(REFERENCE / f"{name}.extxyz", ":")


def same(one, other):
    return (
        one.shape() == other.shape()
        and torch.equal(one.radial_coeffs, other.radial_coeffs)
        and torch.equal(one.species_coeffs, other.species_coeffs)
        and torch.equal(one.readout.moment_coeffs, other.readout.moment_coeffs)
    )


def motep_energies(path, species, frames):
    """Energies and forces of the same file by motep."""
    motep_io = pytest.importorskip("motep.io.mlip.mtp", reason="motep is not installed")
    from motep.calculator import make_calculator

    data = motep_io.read_mtp(path)
    data.species = species
    found = []
    for frame in frames:
        atoms = frame.copy()
        atoms.calc = make_calculator(data, engine="cext")
        found.append((atoms.get_potential_energy(), atoms.get_forces()))
    return found


@needs_reference
@pytest.mark.parametrize("name", NAMES or ["absent"])
def test_a_file_of_mlip_is_written_and_read_again_bit_for_bit(name, tmp_path):
    path, species, _ = reference(name)
    model = read_mtp(path, species)
    write_mtp(tmp_path / "again.mtp", model)
    assert same(read_mtp(tmp_path / "again.mtp"), model)


@needs_reference
@pytest.mark.parametrize("name", NAMES or ["absent"])
def test_motep_finds_the_same_energies_in_what_is_written(name, tmp_path):
    path, species, frames = reference(name)
    write_mtp(tmp_path / "again.mtp", read_mtp(path, species))
    found = motep_energies(tmp_path / "again.mtp", species, frames)
    for frame, (its_energy, its_forces) in zip(frames, found, strict=True):
        if name.endswith("_repuls") and frame.info["name"] == "close_pair":
            continue  # motep leaves out the wall below min_dist
        assert abs(its_energy - frame.calc.results["energy"]) < 1e-9
        np.testing.assert_allclose(its_forces, frame.calc.results["forces"], atol=1e-9)


@pytest.mark.parametrize(
    "levels", [Levels(2), Levels(8, mu_cost=1), Levels(12)], ids=["2", "small", "12"]
)
def test_motep_runs_a_program_of_our_own(levels, tmp_path):
    from ase.build import bulk

    crystal = bulk("Si", cubic=True)
    crystal.rattle(0.1, seed=5)
    model = random_model(levels)
    write_mtp(tmp_path / "own.mtp", model)
    ((its_energy, its_forces),) = motep_energies(tmp_path / "own.mtp", [14], [crystal])
    calculator = Potential(model, {}).calculator()
    size = np.abs(calculator.get_forces(crystal)).max()
    assert its_energy == pytest.approx(calculator.get_potential_energy(crystal), rel=1e-12)
    np.testing.assert_allclose(its_forces, calculator.get_forces(crystal), atol=1e-11 * size)


def test_a_potential_of_our_own_is_read_bit_for_bit(tmp_path):
    model = random_model(Levels(10), (49, 15))
    write_mtp(tmp_path / "own.mtp", model)
    assert same(read_mtp(tmp_path / "own.mtp"), model)


@pytest.mark.parametrize("levels", [Levels(8, mu_cost=1), Levels(16)], ids=["small", "16"])
def test_every_factor_of_a_written_program_is_complete_before_it_is_used(levels):
    """MLIP runs the rows once, in order, and back: each scalar must be mapped once."""
    basis = make_basis(levels)
    complete = set(range(len(basis.components)))
    open_target = None
    for left, right, _, target in basis.products:
        if target != open_target:
            complete.add(open_target)
            open_target = target
        assert {left, right} <= complete
        assert target not in complete
    assert len(set(basis.scalars)) == len(basis.scalars)
    assert {mu for mu, *_ in basis.components} == set(range(basis.n_radial))


def test_keys_stand_where_the_reader_of_mlip_expects_them(tmp_path):
    write_mtp(tmp_path / "own.mtp", random_model(Levels(8), (49, 15)))
    lines = (tmp_path / "own.mtp").read_text().splitlines()
    keys = [line.split("=")[0].strip() for line in lines if "=" in line or "coeffs" in line]
    assert lines[:2] == ["MTP", "version = 1.1.0"]
    assert keys[1:] == [
        "potential_name",
        "scaling",
        "species_count",
        "potential_tag",
        "radial_basis_type",
        "min_dist",
        "max_dist",
        "radial_basis_size",
        "radial_funcs_count",
        "radial_coeffs",
        "alpha_moments_count",
        "alpha_index_basic_count",
        "alpha_index_basic",
        "alpha_index_times_count",
        "alpha_index_times",
        "alpha_scalar_moments",
        "alpha_moment_mapping",
        "species_coeffs",
        "moment_coeffs",
    ]
    assert len(next(line for line in lines if "potential_name" in line).split()) == 3


def test_what_motep_writes_is_read(tmp_path):
    motep_io = pytest.importorskip("motep.io.mlip.mtp", reason="motep is not installed")
    model = random_model(Levels(8), (49, 15))
    write_mtp(tmp_path / "own.mtp", model)
    data = motep_io.read_mtp(tmp_path / "own.mtp")
    for legacy in (False, True):
        motep_io.write_mtp(tmp_path / "motep.mtp", data, legacy=legacy)
        again = read_mtp(tmp_path / "motep.mtp", [49, 15])
        # motep prints 16 digits
        torch.testing.assert_close(again.radial_coeffs, model.radial_coeffs, rtol=1e-15, atol=0)
        assert again.shape()["basis"] == model.shape()["basis"]


def test_a_neural_readout_is_not_exported(tmp_path):
    with pytest.raises(UserError, match="neural readout"):
        write_mtp(tmp_path / "neural.mtp", potential((8, 8)))
    assert list(tmp_path.iterdir()) == []


def test_species_that_contradict_the_file_are_refused(tmp_path):
    write_mtp(tmp_path / "own.mtp", random_model(Levels(8), (49, 15)))
    with pytest.raises(UserError, match="leave them out"):
        read_mtp(tmp_path / "own.mtp", [15, 49])


def numbered(path, model):
    """The file without the elements' names, as MLIP writes it."""
    write_mtp(path, model)
    lines = path.read_text().splitlines()
    path.write_text("\n".join(x for x in lines if not x.startswith("potential_tag")) + "\n")
    return path


def test_training_goes_on_from_a_numbered_file_of_one_species(tmp_path):
    model = random_model(Levels(8))
    assert same(load_for(numbered(tmp_path / "Si.mtp", model), (14,)), model)


def test_a_numbered_file_of_more_species_must_be_named_before_training_goes_on(tmp_path):
    path = numbered(tmp_path / "InP.mtp", random_model(Levels(8), (49, 15)))
    with pytest.raises(UserError, match=r"lightpfp-ray export .* --species"):
        load_for(path, (15, 49))
    out = str(tmp_path / "named.mtp")
    done = CliRunner().invoke(commands, ["export", str(path), out, "--species", "In,P"])
    assert done.exit_code == 0, done.output
    assert load_for(out, (15, 49)).species == (15, 49)


def test_a_saved_potential_and_its_export_give_the_same_energies(tmp_path):
    Potential(potential(), {}).save(tmp_path / "run" / "potential")
    out = tmp_path / "AlNi.mtp"
    done = CliRunner().invoke(commands, ["export", str(tmp_path / "run"), str(out)])
    assert "0 Al, 1 Ni" in done.output
    exported, s = load(out).model, structure("triclinic")
    assert energy(exported, s) == energy(potential(), s)
    assert torch.equal(evaluate(exported, s).forces_A3, evaluate(potential(), s).forces_A3)
