"""MLflow holds every point of the journal once, and the run is found, loaded and looked at."""

import json
import shutil
import socket
import threading
import time
from pathlib import Path

import mlflow
import numpy as np
import pytest
from click.testing import CliRunner

from lightpfp_ray import load
from lightpfp_ray.cli import commands
from lightpfp_ray.errors import UserError
from lightpfp_ray.journal import Journal, records
from lightpfp_ray.tracking import (
    Recorder,
    Recording,
    checked_uri,
    default_uri,
    fetch_potential,
    track,
    where,
)
from lightpfp_ray.tracking.mirror import Mirror
from lightpfp_ray.tracking.store import connect

from .data_samples import metals
from .tracking_samples import CONTROL, copied, cover, in_journal, in_mlflow, unfinished


@pytest.fixture
def output(tmp_path, trained_folder, empty_store):
    """A finished folder beside an empty store."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    return copied(trained_folder, tmp_path / "run")


def recording(output, uri=None):
    return Recording(uri or default_uri(output.path), "lightpfp_ray", "run", {"workers": "2"})


def the_run(output):
    client = connect(default_uri(output.path))
    (run,) = client.search_runs([client.get_experiment_by_name("lightpfp_ray").experiment_id])
    return client, run


def test_search_runs_finds_a_tracked_run_with_the_losses_of_every_epoch(output):
    track(output.path)
    mlflow.set_tracking_uri(default_uri(output.path))
    found = mlflow.search_runs(experiment_names=["lightpfp_ray"]).iloc[0]
    assert found["status"] == "FINISHED"
    for stage, steps in {
        "stage_1": range(1, 4),
        "stage_2": range(4, 8),
        "calibration": (8, 9, 10),
    }.items():
        for split in ("train", "test"):
            for name in ("loss", "energy_loss", "forces_loss", "stress_loss", "forces_mae"):
                assert found[f"metrics.{stage}/{split}/{name}"] > 0
                history = in_mlflow(output)[f"{stage}/{split}/{name}"]
                assert [step for step, _ in history] == list(steps)
    for label in ("energy", "forces", "stress"):
        assert found[f"metrics.calibration/{label}_coeff"] > 0
    assert found["params.common_config.epoch_list"] == "[3, 4]"
    assert found["params.mtp_config.rc"] == "4.0"


def test_mlflow_is_equal_to_the_journal_however_often_it_is_tracked(output):
    assert track(output.path)[0] != "0 points sent"
    assert track(output.path)[0] == "0 points sent"
    assert in_mlflow(output) == in_journal(output)
    client, run = the_run(output)
    files = {f.path for f in client.list_artifacts(run.info.run_id)}
    assert {f"{name}.json" for name in ("control", "data", "metrics")} < files
    assert {"journal.jsonl", "parity.png", "losses.png"} < files
    assert len(client.search_logged_models([run.info.experiment_id])) == 1


def test_a_folder_without_its_tracking_file_is_recorded_as_another_run(output):
    track(output.path)
    (output.path / "tracking.json").unlink()
    track(output.path)
    client = connect(default_uri(output.path))
    runs = client.search_runs([client.get_experiment_by_name("lightpfp_ray").experiment_id])
    assert len(runs) == 2


@pytest.mark.parametrize("restarted", [False, True])
def test_mlflow_is_equal_to_a_journal_that_was_cut_at_any_border(output, restarted):
    """MLflow has seen all up to some record, then the journal is cut back to a checkpoint and
    written again, at other times and with other seconds.
    """
    written = records(output.journal)
    unfinished(output)
    mirror = Mirror(recording(output), output)
    covered = position = 0
    for seen, record in enumerate(written, 1):
        journal = Journal(output.journal)
        journal.append(again(record))
        mirror.update()
        if record["type"] != "epoch":
            continue
        if seen % 3 == 0:
            cover(output, record)
            covered, position = seen, journal.position()
        elif covered:
            journal.truncate(position)
            if restarted:
                mirror = Mirror(Recording.load(output), output)
            for lost in written[covered:seen]:
                journal.append(again(lost))
                mirror.update()
    mirror.finish("FINISHED")
    assert in_mlflow(output) == in_journal(output)


def again(record):
    """The record as a repeated epoch writes it."""
    changed = {"time": time.time()}
    return record | changed | ({"seconds": time.time() % 1} if "seconds" in record else {})


def test_a_point_whose_receipt_was_lost_is_not_sent_again(output):
    """MLflow had the whole journal, and the sender died before it knew."""
    Mirror(recording(output), output).update()
    resumed = Mirror(Recording.load(output), output)
    assert resumed.update() == 0


def test_a_recorder_follows_a_training_and_ends_with_it(output):
    written = records(output.journal)
    metrics = output.metrics.read_bytes()
    unfinished(output)
    with Recorder(recording(output), output, patience_s=60) as recorder:
        for record in written:
            Journal(output.journal).append(record)
        output.metrics.write_bytes(metrics)
    assert recorder.failure is None
    assert in_mlflow(output) == in_journal(output)
    _, run = the_run(output)
    assert run.info.status == "FINISHED"
    assert run.data.tags["workers"] == "2"
    assert run.info.run_id in "".join(where(output.path))


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")]
)
def test_a_run_that_ends_early_says_so_and_goes_on_as_the_same_run(output, error, status):
    with pytest.raises(error):
        end_with(error, output)
    _, before = the_run(output)
    assert before.info.status == status
    with Recorder(recording(output), output, 60):
        pass
    _, after = the_run(output)
    assert (after.info.run_id, after.info.status) == (before.info.run_id, "FINISHED")


def end_with(error, output):
    with Recorder(recording(output), output, 60) as recorder:
        while recorder.thread.is_alive() and not Recording.load(output).run_id:
            time.sleep(0.05)
        raise error


def test_an_unfinished_folder_is_tracked_as_far_as_it_is(output):
    output.metrics.unlink()
    shutil.rmtree(output.checkpoints)
    assert "not finished" in track(output.path)[-1]
    expected = in_journal(output)
    del expected["seconds_per_epoch"]  # no checkpoint covers them
    assert in_mlflow(output) == expected
    _, run = the_run(output)
    assert run.info.status == "RUNNING"


def silent_server():
    """Accepts, and never answers."""
    server = socket.create_server(("127.0.0.1", 0))
    return server, f"http://127.0.0.1:{server.getsockname()[1]}"


def refusing_server():
    server, uri = silent_server()
    server.close()
    return server, uri


@pytest.mark.parametrize("kind", [silent_server, refusing_server])
def test_a_server_that_does_not_answer_fails_no_run_and_is_told_later(output, kind, capsys):
    server, uri = kind()
    with server, Recorder(recording(output, uri), output, patience_s=0.5):
        pass
    assert f"`lightpfp-ray track {output.path}` brings it there" in capsys.readouterr().out
    assert (
        CliRunner()
        .invoke(commands, ["track", str(output.path), "--tracking-uri", default_uri(output.path)])
        .exit_code
        == 0
    )
    assert in_mlflow(output) == in_journal(output)


def test_track_says_in_a_line_that_a_server_is_down(output):
    _, uri = refusing_server()
    with pytest.raises(UserError, match=f"MLflow at {uri}: .*refused: start it"):
        track(output.path, uri)


def test_the_model_in_mlflow_gives_what_the_calculator_gives(output):
    track(output.path)
    _, run = the_run(output)
    mlflow.set_tracking_uri(default_uri(output.path))
    model = mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/potential")
    atoms = metals(1)[0]
    cluster = atoms.copy()
    cluster.pbc = False
    rows = [
        {"numbers": a.numbers, "positions": a.positions, "cell": a.cell.array, "pbc": a.pbc}
        for a in (atoms, cluster)
    ]
    found = model.predict(mlflow_frame(rows))
    for structure, row in zip((atoms, cluster), found.to_dict("records"), strict=True):
        structure.calc = load(output.path).calculator()
        assert row["energy"] == pytest.approx(structure.get_potential_energy(), rel=1e-12)
        np.testing.assert_allclose(row["forces"], structure.get_forces(), atol=1e-12)
    np.testing.assert_allclose(found["stress"][0], atoms.get_stress(), atol=1e-12)
    assert found["stress"][1] is None


def mlflow_frame(rows):
    import pandas

    return pandas.DataFrame([{k: v.tolist() for k, v in row.items()} for row in rows])


def test_the_model_in_mlflow_holds_no_pickle(output):
    track(output.path)
    kinds = {f.suffix for f in (output.path.parent / "mlartifacts").rglob("*") if f.is_file()}
    assert not kinds & {".pkl", ".pickle", ".pt", ".pth", ".bin"}


def test_a_potential_is_fetched_by_run_and_by_uri(output, tmp_path):
    track(output.path)
    client, run = the_run(output)
    uri = default_uri(output.path)
    (model,) = client.search_logged_models([run.info.experiment_id])
    run_id = run.info.run_id
    for reference in (run_id, f"runs:/{run_id}/potential", f"models:/{model.model_id}"):
        folder = fetch_potential(reference, uri, tmp_path / "fetched")
        for name in ("weights.safetensors", "potential.json"):
            assert (folder / name).read_bytes() == (output.potential / name).read_bytes()


def test_a_fetched_potential_is_used_again_without_the_server(output, tmp_path):
    track(output.path)
    _, run = the_run(output)
    uri = default_uri(output.path)
    first = fetch_potential(run.info.run_id, uri, tmp_path / "fetched")
    (tmp_path / "mlflow.db").unlink()
    assert fetch_potential(run.info.run_id, uri, tmp_path / "fetched") == first


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("some/where", "no such folder: expected"),
        ("0" * 32, "not found"),
        ("runs:/" + "0" * 32 + "/potential", "not found"),
        ("models:/nothing/1", "not found"),
    ],
)
def test_a_potential_that_is_not_there_is_named_in_one_line(output, tmp_path, reference, said):
    with pytest.raises(UserError, match=said) as raised:
        fetch_potential(reference, default_uri(output.path), tmp_path / "fetched")
    assert reference in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "uri", ["mlruns", "file:///tmp/mlruns", "ftp://host", "http://", "sqlite:///"]
)
def test_a_uri_that_mlflow_has_no_store_for_is_refused(uri):
    with pytest.raises(UserError, match=r"--tracking-uri .*expected http://HOST:PORT"):
        checked_uri(uri)


def test_a_database_file_is_named_by_its_absolute_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert checked_uri("sqlite:///mine.db") == f"sqlite:///{tmp_path / 'mine.db'}"
    assert checked_uri("http://host:5000") == "http://host:5000"


def test_a_run_on_a_server_is_shown_by_its_page(output):
    found = Recording("http://host:5000", "lightpfp_ray", "run", run_id="abc", experiment_id="7")
    found.save(output)
    assert where(output.path)[0].endswith("http://host:5000/#/experiments/7/runs/abc")


def test_a_folder_that_is_no_run_is_not_tracked(tmp_path):
    with pytest.raises(UserError, match="is not the output folder of a training"):
        track(tmp_path)
    assert not any(tmp_path.iterdir())


def test_long_values_are_shortened_as_parameters_and_whole_as_a_file(output):
    data = {**CONTROL, "names": ["x" * 600]}
    output.control.write_text(json.dumps(data))
    track(output.path)
    client, run = the_run(output)
    assert run.data.params["names"].endswith("xxx...")
    path = Path(client.download_artifacts(run.info.run_id, "control.json"))
    assert json.loads(path.read_text()) == data


def test_training_never_waits_for_mlflow(output):
    """The block goes on while the thread is stuck in a server that never answers."""
    server, uri = silent_server()
    accepted = threading.Event()

    def accept():
        server.accept()
        accepted.set()

    threading.Thread(target=accept, daemon=True).start()
    with server, Recorder(recording(output, uri), output, patience_s=0.1) as recorder:
        assert accepted.wait(60)
        Journal(output.journal).append({"type": "epoch"})
        assert recorder.thread.is_alive()
