"""What MLflow is told of a journal, and the reading of a journal that grows and is cut."""

import json
import time

from lightpfp_ray.journal import Follower, Journal, records
from lightpfp_ray.tracking.points import points

ERRORS = {"loss": 0.5, "energy_loss": 0.1, "energy_mae": 0.2, "stress_mae": None}
EPOCH = {"type": "epoch", "stage": "stage_1", "stage_index": 0, "epoch": 2, "lr": 0.01}
AT = {"step": 2, "time": 12.5}


def named(record):
    assert all((p.step, p.time) == (2, 12.5) for p in points(record))
    return {p.key: p.value for p in points(record)}


def test_an_epoch_is_its_losses_by_stage_and_set():
    record = {**EPOCH, "seconds": 3.0, "train": ERRORS, "test": {"loss": 0.7}, **AT}
    assert named(record) == {
        "stage_1/train/loss": 0.5,
        "stage_1/train/energy_loss": 0.1,
        "stage_1/train/energy_mae": 0.2,
        "stage_1/test/loss": 0.7,
        "lr": 0.01,
        "seconds_per_epoch": 3.0,
    }


def test_calibration_is_its_coefficients():
    record = {"type": "calibration", "energy_coeff": 1.5, "forces_coeff": 2, "stress_coeff": None}
    assert named({**record, **AT}) == {
        "calibration/energy_coeff": 1.5,
        "calibration/forces_coeff": 2,
    }


def test_the_end_is_the_final_errors():
    record = {"type": "end", "train": {"energy_mae": 0.1}, "test": {"energy_mae": None}, **AT}
    assert named(record) == {"final/train/energy_mae": 0.1}


def test_an_unknown_record_is_what_its_metrics_say():
    assert named({"type": "least_squares", "rank": 7, **AT}) == {}
    assert named({"type": "rollback", "metrics": {"a/b": 1, "c": None}, **AT}) == {"a/b": 1.0}


def test_a_follower_reads_each_record_once(tmp_path, trained_folder):
    whole = trained_folder.journal.read_bytes()
    follower, seen = Follower(tmp_path / "j"), []
    for end in range(0, len(whole) + 100, 100):
        (tmp_path / "j").write_bytes(whole[:end])
        seen += follower.read()[0]
    assert seen == records(trained_folder.journal)


def test_a_follower_begins_anew_where_the_journal_was_cut(tmp_path):
    """At every border, whether the new lines end before, at or beyond where it had read to."""
    for cut in range(4):
        for after in range(5):
            journal = Journal(tmp_path / f"{cut}-{after}")
            borders = []
            for step in range(4):
                borders.append(journal.position())
                journal.append({"step": step, "time": time.time()})
            follower = Follower(journal.path)
            follower.read()
            journal.truncate(borders[cut])
            for step in range(cut, cut + after):
                journal.append({"step": step, "time": time.time()})
            assert follower.read() == (records(journal.path), True)
            assert follower.read()[0] == []


def test_records_are_whole_json_objects(trained_folder):
    for line in trained_folder.journal.read_text().splitlines():
        assert {"type", "step", "time"} <= json.loads(line).keys()
