"""A lost worker is one line, which says where the run goes on; whatever else Ray says stays."""

import os
import signal
from pathlib import Path

import pytest
import ray
from ray._private import worker

from lightpfp_ray.cluster import session
from lightpfp_ray.cluster.losses import Losses, lost
from lightpfp_ray.errors import UserError

from .training_samples import Stage

STAGES = (Stage("stage_1", 3, 0.1, 1.0, 1.0, 1.0), Stage("stage_2", 3, 0.1, 1.0, 1.0, 1.0))


@pytest.fixture
def losses(tmp_path):
    return Losses(tmp_path / "notes.txt", tmp_path / "checkpoints", STAGES)


@pytest.mark.parametrize(
    ("newest", "said"),
    [
        (None, "from its beginning"),
        ("000-0000002-000000005.pt", "from epoch 3 of stage_1"),
        ("001-0000000-000000000.pt", "from epoch 1 of stage_2"),
        ("002-0000000-000000000.pt", "from the end of its last stage"),
    ],
)
def test_the_line_says_where_the_run_goes_on(losses, newest, said):
    if newest:
        losses.checkpoints.mkdir()
        (losses.checkpoints / newest).touch()
    losses.tell("worker 1 was lost")
    assert losses.file.read_text() == f"worker 1 was lost; the training goes on {said}\n"


def test_a_mistake_of_the_user_ends_the_run_and_is_no_loss(losses):
    with pytest.raises(UserError, match="no stress"):
        losses.after_exception(None, {0: RuntimeError("peer is gone"), 1: UserError("no stress")})
    assert not losses.file.exists()


def test_a_folder_that_cannot_be_written_does_not_end_the_run():
    Losses(Path("/proc/1/notes.txt"), Path("/proc/1/checkpoints"), STAGES).tell("worker 1 was lost")


def test_the_killed_worker_is_named_and_not_those_that_fail_with_it(ray_cluster):
    victim = ray.remote(Victim).remote()
    try:
        ray.get(victim.end.remote())
    except ray.exceptions.RayActorError as error:
        said = lost({0: RuntimeError("Connection closed by peer"), 1: error})
    assert said == "worker 1 was lost (killed, or out of memory)"
    assert lost({0: ValueError("a\nb")}) == "worker 0 failed (b)"


class Victim:
    def end(self):
        os.kill(os.getpid(), signal.SIGKILL)


def test_only_what_ray_prints_of_a_lost_worker_is_hidden(monkeypatch, capsys):
    monkeypatch.setattr(worker, "print_to_stdstream", worker.print_to_stdstream)
    session._hide_losses()
    for said in (f"{session.LOST} while this test ran.", "A node has no memory left."):
        data = {"lines": [said], "pid": "raylet", "is_err": False}
        worker.print_to_stdstream(data, ignore_prefix=False)
    printed = capsys.readouterr().out
    assert "while this test ran" not in printed
    assert "A node has no memory left." in printed
