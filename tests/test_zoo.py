"""The zoo: a pretrained model is found by its name, restricted to the species at hand, trained
further by the control file of LightPFP, and refused where it does not fit.
"""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from lightpfp_ray import Potential, load
from lightpfp_ray.cli import main
from lightpfp_ray.config import parse_control
from lightpfp_ray.errors import UserError
from lightpfp_ray.potential import cutoff_of, load_for
from lightpfp_ray.preflight import refuse_zoo
from lightpfp_ray.zoo import models
from lightpfp_ray.zoo.publish import publish

from .data_samples import metals, written
from .test_config import LIGHTPFP
from .training_samples import sets, trained

NAME = "ALL_ELEMENTS_SMALL_6"
TEACHER = {"name": "EMT", "version": "3", "licence": "LGPL"}
CARD = {"teacher": TEACHER}


@pytest.fixture(scope="module")
def potential(tmp_path_factory):
    return Potential(trained(tmp_path_factory.mktemp("run"), sets()), {"made": "here"})


@pytest.fixture
def zoo(potential, tmp_path, monkeypatch):
    """A folder with the weights of one name."""
    publish(potential, tmp_path / "zoo", NAME, CARD)
    monkeypatch.setenv(models.FOLDER, str(tmp_path / "zoo"))
    return tmp_path / "zoo"


def test_a_pretrained_model_is_loaded_by_its_name(zoo, potential):
    found = load(NAME)
    assert found.origin == {"made": "here", "card": CARD}
    assert cutoff_of(NAME) == potential.model.cutoff
    for a, b in zip(found.model.parameters(), potential.model.parameters(), strict=True):
        assert a.dtype == torch.float32
        assert torch.equal(a, b.float())


def test_only_the_parameters_of_the_species_at_hand_are_taken(zoo):
    whole, two = load(NAME).model, load_for(NAME, (29, 13))
    assert whole.species == (13, 28, 29)
    assert two.species == (29, 13)
    assert two.radial_coeffs.shape[:2] == (2, 2)
    assert torch.equal(two.radial_coeffs[0, 1], whole.radial_coeffs[2, 0])
    assert torch.equal(two.species_coeffs, whole.species_coeffs[[2, 0]])
    assert torch.equal(two.readout.moment_coeffs, whole.readout.moment_coeffs)


def test_an_element_that_the_model_was_not_trained_for_is_named(zoo):
    with pytest.raises(UserError, match="not trained for Fe, it knows Al Ni Cu") as refused:
        load_for(NAME, (13, 26))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", models.NAMES)
def test_a_name_whose_weights_are_not_there_is_refused_in_one_line(name, tmp_path, monkeypatch):
    monkeypatch.setattr(models, "PACKAGED", tmp_path)
    control = parse_control(json.dumps({"mtp_config": {"pretrained_model": name}}), "control")
    with pytest.raises(UserError, match=f"weights of {name} are not part of this") as refused:
        refuse_zoo(control)
    assert "\n" not in str(refused.value)


def test_a_path_is_accepted_where_something_is_there(tmp_path, potential):
    potential.save(tmp_path / "potential")

    def control(path):
        text = json.dumps({"mtp_config": {"pretrained_model": str(path)}})
        return parse_control(text, "control.json")

    refuse_zoo(control(tmp_path / "potential"))
    assert control(tmp_path / "potential").starts_at == str(tmp_path / "potential")
    with pytest.raises(UserError, match="which is not there"):
        refuse_zoo(control(tmp_path / "nowhere"))


def test_the_control_file_of_lightpfp_trains_as_it_stands(zoo, tmp_path, ray_cluster, capsys):
    """Byte for byte; only the epochs are fewer."""
    (tmp_path / "control.json").write_text(LIGHTPFP)
    data = written(tmp_path / "metals.extxyz", metals(24))
    few = ["--set", "common_config.total_epoch=4"]
    run = tmp_path / "run"
    command = ["train", tmp_path / "control.json", "--data", data, "--output", run, *few]
    main([str(argument) for argument in command])
    assert f"those of {NAME}, not of mtp_config" in capsys.readouterr().out
    start, found = load(NAME).model, load(run).model
    assert found.shape() == {**start.shape(), "species": list(found.species)}
    assert json.loads((run / "control.json").read_text())["mtp_config"] == {
        "model_version": "v1.0",
        "pretrained_model": NAME,
    }
    assert f"that of {NAME}, trained further" in (run / "report.html").read_text()


def test_loading_and_predicting_need_neither_ray_nor_mlflow_nor_a_teacher(zoo):
    code = (
        "import sys; from ase.build import bulk; from lightpfp_ray import load; "
        f"a = bulk('Cu'); a.calc = load('{NAME}').calculator(); a.get_forces(); "
        "sys.exit(any(m in sys.modules for m in ('ray', 'mlflow', 'pydantic', 'chgnet')))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_restricted_model_predicts_as_the_whole_one(zoo):
    atoms = next(a for a in metals(9) if set(a.numbers) == {29})
    forces = []
    for model in (load(NAME).model, load_for(NAME, (29,))):
        atoms.calc = Potential(model, {}).calculator()
        forces.append(atoms.get_forces())
    np.testing.assert_array_equal(*forces)


def test_models_lists_all_names_and_what_is_known_of_each(zoo, potential, capsys):
    card = CARD | {
        "elements": ["Al", "Ni", "Cu"],
        "cutoff": 4.0,
        "parameters": 210,
        "us_per_atom": 1.5,
        "test": {"all": {"energy_mae": 0.0123, "forces_mae": 0.0456}},
    }
    publish(potential, zoo, NAME, card)
    main(["models"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:10]] == list(models.NAMES)
    assert lines[2].split()[1:7] == ["3", "4", "210", "1.50", "12", "46"]
    assert lines[2].endswith("EMT 3, LGPL")
    assert f"{NAME}: Al Ni Cu" in lines
    main(["models", "--json"])
    assert json.loads(capsys.readouterr().out)[NAME] == card
