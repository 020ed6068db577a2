"""One command from files to a potential: what it leaves, how it goes on, what it refuses."""

import json

import mlflow
import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.io import read

from lightpfp_ray import load
from lightpfp_ray.cli import main
from lightpfp_ray.journal import records

from .data_samples import labelled, metals, written

CONTROL = {
    "common_config": {"total_epoch": 8, "batch_size": 8},
    "mtp_config": {"rc": 4.0, "levmax": 6, "n_q": 5},
}
EPOCHS = {"stage_1": 2, "stage_2": 4, "calibration": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    (folder / "control.json").write_text(json.dumps(CONTROL))
    written(folder / "train.extxyz", metals(12))
    written(folder / "test.extxyz", metals(4, seed=1))
    return folder


def arguments(folder, name, *more):
    data = ["--data", folder / "train.extxyz", "--test-data", folder / "test.extxyz"]
    asked = ["train", folder / "control.json", *data, "--output", folder / name, *more]
    return [str(argument) for argument in asked]


@pytest.fixture(scope="module")
def run(ray_cluster, folder):
    """The output folder of a run on two workers."""
    main(arguments(folder, "run", "--workers", "2"))
    return folder / "run"


def test_a_run_leaves_a_potential_that_predicts_what_its_metrics_say(run, folder):
    metrics = json.loads((run / "metrics.json").read_text())
    assert [metrics[split]["structures"] for split in ("train", "test")] == [12, 4]
    assert max(max(found.values()) for found in metrics["self_check"].values()) < 1e-9
    images = read(folder / "test.extxyz", ":")
    errors = []
    for atoms in images:
        reference = atoms.get_forces()
        atoms.calc = load(run).calculator()
        errors.append((atoms.get_forces() - reference).ravel())
    expected = np.sqrt(np.mean(np.concatenate(errors) ** 2))
    assert metrics["test"]["forces_rmse"] == pytest.approx(expected, rel=1e-9)
    assert json.loads((run / "control.json").read_text())["mtp_config"]["levmax"] == 6
    assert all((run / name).stat().st_size > 1000 for name in ("parity.png", "report.html"))


def test_mlflow_holds_the_losses_of_every_stage_at_every_epoch(run, folder):
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    mlflow.set_tracking_uri(uri)
    found = mlflow.search_runs(
        experiment_names=["lightpfp_ray"], filter_string="run_name = 'run'", output_format="list"
    )
    assert [r.info.status for r in found] == ["FINISHED"]
    client, run_id = mlflow.MlflowClient(uri), found[0].info.run_id
    expected = {r["step"]: r for r in records(run / "journal.jsonl") if r["type"] == "epoch"}
    for stage, n in EPOCHS.items():
        for split in ("train", "test"):
            for name in ("loss", "energy_loss", "forces_mae", "stress_rmse"):
                history = client.get_metric_history(run_id, f"{stage}/{split}/{name}")
                assert len(history) == n
                assert all(p.value == expected[p.step][split][name] for p in history)
    for label in ("energy", "forces", "stress"):
        assert found[0].data.metrics[f"calibration/{label}_coeff"] > 0


def test_a_finished_run_is_told_again_and_evaluate_agrees(run, folder, capsys):
    main(arguments(folder, "run", "--workers", "2"))
    assert "energy (meV/atom)" in capsys.readouterr().out
    main(["evaluate", str(run), "--data", str(folder / "test.extxyz"), "--json"])
    found = json.loads(capsys.readouterr().out)
    expected = json.loads((run / "metrics.json").read_text())["test"]
    assert found == pytest.approx(expected, rel=1e-9)


STANDING = {
    "common_config": {"total_epoch": 3},
    "multistage_config": {"lr_list": [1e-12, 1e-12], "calibration_lr": 1e-12},
    "lightpfp_ray": {"starts": 1, "polish_epochs": 0},
}
"""A training that stays where it begins."""


def standing_from(potential, *more):
    """Options of such a training that begins at a potential."""
    options = [f"common_config.reload_model={potential}", *more]
    for section, given in STANDING.items():
        options += [f"{section}.{key}={value}" for key, value in given.items()]
    return [word for option in options for word in ("--set", option)]


def radial_of(path):
    """What the radial functions of a potential have of every polynomial."""
    model = load(path).model
    return model.radial.scaling * model.radial_coeffs.detach()


def test_a_potential_is_trained_further(run, folder):
    main(arguments(folder, "further", "--compare", run, *standing_from(run)))
    assert str(run) in (folder / "further" / "report.html").read_text()
    torch.testing.assert_close(radial_of(folder / "further"), radial_of(run), rtol=0, atol=1e-8)


def test_a_file_of_mlip_is_trained_further_with_its_own_cutoff(run, folder, capsys):
    main(["export", str(run), str(folder / "metals.mtp")])
    further = standing_from(folder / "metals.mtp", "mtp_config.rc=2.5")
    main(arguments(folder, "from_mtp", *further))
    assert "not of mtp_config" in capsys.readouterr().out
    assert load(folder / "from_mtp").model.cutoff == 4.0
    torch.testing.assert_close(radial_of(folder / "from_mtp"), radial_of(run), rtol=0, atol=1e-8)


def test_a_file_that_only_numbers_its_species_says_what_must_be_given(run, folder, capsys):
    main(["export", str(run), str(folder / "named.mtp")])
    lines = (folder / "named.mtp").read_text().splitlines()
    kept = [line for line in lines if not line.startswith("potential_tag")]
    (folder / "numbered.mtp").write_text("\n".join(kept))
    capsys.readouterr()
    reload = f"common_config.reload_model={folder / 'numbered.mtp'}"
    said = refused(capsys, *arguments(folder, "numbered", "--set", reload))
    assert "lightpfp-ray export FILE NEW.mtp --species" in said
    assert not (folder / "numbered").exists()


def refused(capsys, *asked):
    """The line that a command ends with."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in asked])
    assert stop.value.code not in (0, None)
    said = capsys.readouterr().err.strip()
    assert said.startswith("error: ")
    assert "Traceback" not in said
    return said


def nan_labels():
    return [*metals(3), labelled(bulk("Cu"), energy=np.nan)]


def unknown_element():
    atoms = bulk("Cu")
    atoms.numbers[:] = 0
    return [*metals(3), labelled(atoms, energy=1.0)]


@pytest.mark.parametrize(
    ("images", "more", "said"),
    [
        (nan_labels, [], "bad.extxyz#3: NaN or infinite label"),
        (unknown_element, [], "bad.extxyz#3: unknown element"),
        (lambda: metals(3), ["--set", "common_config.max_energy=-1e9"], "no structure left"),
        (lambda: metals(3), ["--workers", "5"], "--workers 5 with 1 CPU each found a cluster of 4"),
        (lambda: metals(3), ["--set", "multistage_config.lr_list=[0.1]"], "lr_list"),
        (lambda: metals(3), ["--set", "common_config.total_epoch=-5"], "total_epoch"),
        (lambda: metals(3), ["--set", "mtp_config.levmx=8"], "did you mean levmax?"),
        (lambda: metals(3), ["--set", "mtp_config.n_q=many"], "n_q"),
        (
            lambda: metals(24),
            ["--set", "mtp_config.pretrained_model=ORGANIC"],
            "was not trained for",
        ),
        (lambda: metals(3), ["--tracking-uri", "ftp://somewhere"], "--tracking-uri"),
        (lambda: metals(3), ["--compare", "nowhere"], "expected the output folder of a finished"),
    ],
)
def test_what_cannot_be_trained_is_one_line_and_leaves_nothing(
    ray_cluster, tmp_path, capsys, images, more, said
):
    (tmp_path / "control.json").write_text(json.dumps(CONTROL))
    data = written(tmp_path / "bad.extxyz", images())
    line = refused(
        capsys,
        *("train", tmp_path / "control.json", "--data", data, "--output", tmp_path / "run", *more),
    )
    assert said in line
    assert "\n" not in line
    assert not (tmp_path / "run").exists()


def test_a_file_that_is_not_there_or_cannot_be_read_is_named(ray_cluster, tmp_path, capsys):
    (tmp_path / "control.json").write_text("{}")
    (tmp_path / "damaged.extxyz").write_text("2\nLattice=nonsense\nCu 0 0\n")
    begin = ("train", tmp_path / "control.json", "--output", tmp_path / "run", "--data")
    assert "no such file" in refused(capsys, *begin, tmp_path / "absent.extxyz")
    assert "damaged.extxyz" in refused(capsys, *begin, tmp_path / "damaged.extxyz")
    assert not (tmp_path / "run").exists()


def test_the_folder_of_another_run_is_left_alone(run, folder, capsys):
    before = (run / "control.json").read_bytes()
    line = refused(capsys, *arguments(folder, "run", "--set", "mtp_config.levmax=4"))
    assert "mtp_config.levmax was 6, is 4" in line
    assert (run / "control.json").read_bytes() == before
    main(arguments(folder, "run", "--set", "mtp_config.levmax=4", "--resume-anyway"))  # it is done
    assert (run / "control.json").read_bytes() == before
    other = folder / "other"
    other.mkdir()
    (other / "thesis.tex").write_text("years of work")
    assert "not a training's" in refused(capsys, *arguments(folder, "other"))
