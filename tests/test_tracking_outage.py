"""A real MLflow server, killed in the middle of a run and started again: every point once."""

import shutil
import time

import pytest

from lightpfp_ray.journal import Journal, records
from lightpfp_ray.tracking import Recorder, Recording, fetch_potential, recorder

from .mlflow_server import Server
from .tracking_samples import copied, cover, in_journal, in_mlflow, unfinished


@pytest.fixture
def server(tmp_path, empty_store):
    (tmp_path / "server").mkdir()
    shutil.copy(empty_store, tmp_path / "server" / "mlflow.db")
    server = Server(tmp_path / "server")
    server.start()
    yield server
    server.kill()


def test_a_server_killed_and_started_again_has_every_point_once(
    tmp_path, trained_folder, server, monkeypatch, capsys
):
    monkeypatch.setattr(recorder, "INTERVAL_S", 0.05)
    monkeypatch.setattr(recorder, "LONGEST_WAIT_S", 1.0)
    output = copied(trained_folder, tmp_path / "run")
    written, metrics = records(output.journal), output.metrics.read_bytes()
    unfinished(output)
    journal = Journal(output.journal)
    recording = Recording(server.uri, "lightpfp_ray", "run")
    with Recorder(recording, output, patience_s=60) as following:
        for record in written[:5]:
            journal.append(record)
            if record["type"] == "epoch":
                cover(output, record)
        while following.thread.is_alive() and not is_recorded(output):
            time.sleep(0.1)
        server.kill()
        for record in written[5:9]:
            journal.append(record)
        while following.failure is None:
            time.sleep(0.05)
        server.start()
        for record in written[9:]:
            journal.append(record)
        output.metrics.write_bytes(metrics)
    assert following.failure is None
    assert in_mlflow(output) == in_journal(output)
    run_id = Recording.load(output).run_id
    folder = fetch_potential(run_id, server.uri, tmp_path / "fetched")
    assert "View run" not in capsys.readouterr().out  # MLflow's own words about a run
    name = "weights.safetensors"
    assert (folder / name).read_bytes() == (output.potential / name).read_bytes()


def is_recorded(output):
    return Recording.load(output).run_id and in_mlflow(output)
