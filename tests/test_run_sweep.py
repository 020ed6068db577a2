"""A sweep from its file to the registered potential, and again from where it was."""

import json

import pytest
from mlflow import MlflowClient

from lightpfp_ray.cli import main
from lightpfp_ray.errors import UserError
from lightpfp_ray.run_sweep import SweepFolder
from lightpfp_ray.tracking import fetch_potential

from .data_samples import metals, written

pytestmark = pytest.mark.usefixtures("ray_cluster")
SWEEP = {
    "control": {
        "common_config": {"total_epoch": 4, "batch_size": 4},
        "mtp_config": {"levmax": 4, "n_q": 4},
        "lightpfp_ray": {"test_fraction": 0.3, "starts": 1},
    },
    "parameters": {"mtp_config.rc": {"grid": [3.5, 4.0]}},
}


def swept(folder, sweep=SWEEP):
    (folder / "sweep.json").write_text(json.dumps(sweep))
    data = written(folder / "a.xyz", metals(9, seed=6))
    main(
        ["sweep", str(folder / "sweep.json"), "--data", str(data), "--output", str(folder / "out")]
    )


def runs_of(folder):
    """The run of the sweep, those of its trials, and where they are kept."""
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    client = MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name("lightpfp_ray").experiment_id
    runs = client.search_runs([experiment])
    (parent,) = (run for run in runs if "mlflow.parentRunId" not in run.data.tags)
    children = [run for run in runs if run is not parent]
    return client, parent, children, uri


def test_a_sweep_ends_with_table_picture_record_and_a_registered_potential(tmp_path, capsys):
    swept(tmp_path)
    output, said = tmp_path / "out", capsys.readouterr().out
    caches = [path for path in (tmp_path / ".lightpfp_cache").iterdir() if path.is_dir()]
    assert len(caches) == 1
    assert (output / "pareto.png").exists()
    assert len((output / "trials.csv").read_text().splitlines()) == 3
    assert "* rc" in said
    client, parent, children, uri = runs_of(tmp_path)
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert {run.info.run_name for run in children} == {"rc 3.5", "rc 4"}
    assert {run.info.status for run in [parent, *children]} == {"FINISHED"}
    assert all(run.data.metrics["us_per_atom"] > 0 for run in children)
    assert all(run.info.run_id in said for run in children)
    errors = {run.info.run_id: run.data.metrics["final/test/forces_mae"] for run in children}
    version = client.get_model_version_by_alias("out", "best")
    assert version.run_id == min(errors, key=errors.get)
    fetched = fetch_potential("models:/out@best", uri, tmp_path / "fetched")
    assert (fetched / "potential.json").exists()

    journals = {path: path.read_bytes() for path in output.glob("trials/*/journal.jsonl")}
    swept(tmp_path)
    assert {path: path.read_bytes() for path in journals} == journals
    _, _, again, _ = runs_of(tmp_path)
    assert {run.info.run_id for run in again} == set(errors)


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="not a sweep's"):
        SweepFolder(tmp_path).refuse_others()
