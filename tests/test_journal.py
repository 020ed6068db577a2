"""The journal: what was appended is there, whatever was cut in between."""

import json

import pytest

from lightpfp_ray.errors import UserError
from lightpfp_ray.journal import Journal, records

RECORDS = [{"type": "epoch", "step": step, "loss": 1 / step} for step in range(1, 7)]


def written(path, some):
    journal = Journal(path)
    for record in some:
        journal.append(record)
    return journal


def test_records_are_what_was_appended(tmp_path):
    written(tmp_path / "j", RECORDS)
    assert records(tmp_path / "j") == RECORDS


def test_another_process_sees_each_record_at_once(tmp_path):
    journal = Journal(tmp_path / "j")
    for n, record in enumerate(RECORDS, 1):
        journal.append(record)
        assert records(tmp_path / "j") == RECORDS[:n]


@pytest.mark.parametrize("kept", range(len(RECORDS) + 1))
def test_a_journal_cut_at_a_border_and_written_again_is_the_undisturbed_one(tmp_path, kept):
    journal = written(tmp_path / "j", RECORDS[:kept])
    position = journal.position()
    written(tmp_path / "j", RECORDS[kept:4])
    journal.truncate(position)
    written(tmp_path / "j", RECORDS[kept:])
    assert records(tmp_path / "j") == RECORDS


def test_an_unfinished_last_line_is_no_record(tmp_path):
    whole = written(tmp_path / "whole", RECORDS).path.read_bytes()
    for end in range(len(whole)):
        (tmp_path / "j").write_bytes(whole[:end])
        assert records(tmp_path / "j") == RECORDS[: whole[:end].count(b"\n")]


def test_a_journal_that_is_not_there_has_no_records_and_no_length(tmp_path):
    assert records(tmp_path / "j") == []
    assert Journal(tmp_path / "j").position() == 0
    Journal(tmp_path / "j").truncate(0)
    assert not (tmp_path / "j").exists()


def test_a_journal_shorter_than_its_checkpoint_is_refused(tmp_path):
    journal = written(tmp_path / "j", RECORDS[:1])
    with pytest.raises(UserError, match=r"j has 42 bytes, the checkpoint was made at 100"):
        journal.truncate(100)
    assert records(tmp_path / "j") == RECORDS[:1]


def test_what_is_not_a_number_is_null(tmp_path):
    journal = Journal(tmp_path / "j")
    journal.append({"a": float("nan"), "b": [float("inf"), 1.5], "c": {"d": -float("inf")}})
    text = (tmp_path / "j").read_text()
    assert json.loads(text) == {"a": None, "b": [None, 1.5], "c": {"d": None}}
