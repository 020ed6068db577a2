"""What a person sees of a run: each note once, at the latest when the run ends."""

import json

from lightpfp_ray.progress import Progress, _worth_a_line, border_line, calibration_lines


def test_each_note_is_printed_once_and_none_is_lost_at_the_end(tmp_path, capsys):
    notes = tmp_path / "notes.txt"
    with Progress(tmp_path / "journal.jsonl", 10, notes) as progress:
        notes.write_text("worker 1 was lost\n")
        progress._print_notes()
        with notes.open("a") as file:
            file.write("worker 0 was lost\n")
    assert capsys.readouterr().out == "note: worker 1 was lost\nnote: worker 0 was lost\n"


def test_what_a_training_notes_is_printed(tmp_path, capsys):
    journal = tmp_path / "journal.jsonl"
    with Progress(journal, 10, tmp_path / "notes.txt"):
        journal.write_text(
            json.dumps({"type": "note", "step": 0, "text": "E0 is not known"}) + "\n"
        )
    assert capsys.readouterr().out == "note: E0 is not known\n"


def test_where_a_stage_goes_back_or_stops_is_told_with_the_epoch_before():
    epochs = [{"type": "epoch", "stage": "polish", "epoch": n} for n in (1, 2)]
    back = {"type": "rollback", "stage": "polish", "epoch": 3, "lr": 0.03}
    stop = {"type": "stop", "stage": "polish", "epoch": 2, "why": "early stopping"}
    assert _worth_a_line([*epochs, back, *epochs, stop]) == [epochs[1], back, epochs[1], stop]
    assert border_line(back) == "     polish    3  diverged, begins again with lr 0.03"
    assert border_line(stop) == "     polish    2  early stopping"


def test_calibration_shows_what_each_loss_weighed_before_and_weighs_now():
    record = {
        "energy_coeff": 300.0,
        "forces_coeff": 0.25,
        "stress_coeff": 0.0,
        "before": {"energy": 0.01, "forces": 2.0, "stress": None},
        "after": {"energy": 1.005, "forces": 1.005, "stress": None},
    }
    assert calibration_lines(record) == [
        "           calibration     energy     forces     stress",
        "           coefficient        300       0.25          0",
        "  weighted loss before       0.01          2          -",
        "     weighted loss now      1.005      1.005          -",
    ]
