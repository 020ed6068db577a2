"""What a person sees of a run: each note once, at the latest when the run ends."""

from lightpfp_ray.progress import Progress


def test_each_note_is_printed_once_and_none_is_lost_at_the_end(tmp_path, capsys):
    notes = tmp_path / "notes.txt"
    with Progress(tmp_path / "journal.jsonl", 10, notes) as progress:
        notes.write_text("worker 1 was lost\n")
        progress._print_notes()
        with notes.open("a") as file:
            file.write("worker 0 was lost\n")
    assert capsys.readouterr().out == "note: worker 1 was lost\nnote: worker 0 was lost\n"
