"""The table and the picture of a sweep, from rows that are known."""

import pytest

from lightpfp_ray.sweep import Trial
from lightpfp_ray.sweep.picture import mark, pareto_plot
from lightpfp_ray.sweep.table import Row, as_csv, best, front, lines

OBJECTIVE = "test/forces_mae"


def row(levmax, n_q=8, error=0.1, us_per_atom=1.0, state="finished", why=""):
    trial = Trial.of({}, {"mtp_config.levmax": levmax, "mtp_config.n_q": n_q})
    return Row(trial, state, why, error, us_per_atom, 10, 100, 4, 2.0)


ROWS = [
    row(8, error=0.20, us_per_atom=1.0),
    row(8, 6, error=0.25, us_per_atom=1.1),
    row(12, error=0.15, us_per_atom=2.0),
    row(12, 6, error=0.15, us_per_atom=1.9),
    row(16, error=0.16, us_per_atom=4.0),
    row(20, error=0.01, us_per_atom=None, state="stopped", why="behind the others"),
    row(24, error=None, us_per_atom=None, state="failed", why="it ran out of memory"),
]


def test_the_front_holds_what_no_other_one_beats():
    assert [r.trial.label for r in front(ROWS)] == ["levmax 8, n_q 8", "levmax 12, n_q 6"]
    for kept in front(ROWS):
        assert not any(
            r.finished and r.error <= kept.error and r.us_per_atom < kept.us_per_atom for r in ROWS
        )


def test_the_best_is_a_finished_one():
    assert best(ROWS).error == 0.15
    assert best(ROWS[-2:]) is None


def test_every_trial_has_a_line_the_best_first_and_failures_say_why():
    found = lines(ROWS, OBJECTIVE)
    assert len(found) == 1 + len(ROWS)
    assert "test forces MAE (meV/A)" in found[0]
    assert found[1].startswith("  levmax 12, n_q 8")
    assert found[2].startswith("* levmax 12, n_q 6")
    assert found[-2].endswith("stopped: behind the others")
    assert found[-1].endswith("failed: it ran out of memory")


def test_the_csv_has_a_column_a_parameter():
    head, first, *rest = as_csv(ROWS, OBJECTIVE).splitlines()
    assert head.startswith("folder,mtp_config.levmax,mtp_config.n_q,test/forces_mae,")
    assert first.startswith('"levmax=12,n_q=8",12,8,0.15,10,100,2.0')
    assert len(rest) == len(ROWS) - 1


@pytest.mark.parametrize("rows", [ROWS, ROWS[-2:], [row(8, us_per_atom=None)]])
def test_the_picture_is_drawn_whatever_came_out(tmp_path, rows):
    pareto_plot(rows, OBJECTIVE, tmp_path / "pareto.png")
    assert (tmp_path / "pareto.png").read_bytes().startswith(b"\x89PNG")


def test_points_are_marked_with_level_and_n_q():
    assert mark(row(12, 6)) == "12/6"
    assert mark(row(12, 6)) != mark(row(12, 8))
