"""Ray Train launches the loop: two workers give the potential of one, whatever the sizes."""

import pytest

from lightpfp_ray.cluster.dataset import prepare
from lightpfp_ray.cluster.session import Resources, Session
from lightpfp_ray.cluster.trainer import Job, fit
from lightpfp_ray.errors import UserError
from lightpfp_ray.journal import records
from lightpfp_ray.mtp.levels import Levels
from lightpfp_ray.mtp.model import RadialShape
from lightpfp_ray.potential import load

from .data_samples import metals, written
from .training_samples import CUTOFF, Stage, parameters, plan

pytestmark = pytest.mark.usefixtures("ray_cluster")
SESSION = Session("auto", verbose=False, borrowed=True)
STAGES = (
    Stage("stage_1", 2, 0.1, 1e-5, 10.0, 1e-5),
    Stage("stage_2", 2, 0.01, 1.0, 0.1, 10.0),
    Stage("calibration", 2, 0.01, None, None, None),
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """41 training structures in batches of eight: the last leaves one of two ranks empty."""
    folder = tmp_path_factory.mktemp("cache")
    data, test = (
        written(folder / name, metals(n, seed=n)) for name, n in (("a.xyz", 41), ("b.xyz", 2))
    )
    return prepare(
        [str(data)],
        [str(test)],
        cutoff=CUTOFF,
        max_energy=1e38,
        max_forces=1e38,
        seed=0,
        test_fraction=0.1,
        cache_root=folder,
    ).path


def job_in(folder, cache, start=None):
    folder.mkdir()
    return Job(
        plan=plan(folder / "checkpoints", STAGES, batch_size=8),
        cache=cache,
        journal=folder / "journal.jsonl",
        potential=folder / "potential",
        species=(13, 28, 29),
        levels=Levels(8),
        radial=RadialShape(CUTOFF, 1.8, 5),
        widths=(),
        start=start,
        dtype="float64",
        origin={},
    )


def trained(folder, cache, workers):
    """The potential of a run on real workers, and its journal."""
    job = job_in(folder, cache)
    fit(job, Resources(workers, 1, "cpu"), SESSION, folder / ".ray")
    return load(job.potential).model, records(job.journal)


def test_two_workers_give_the_potential_of_one(cache, tmp_path):
    one, of_one = trained(tmp_path / "one", cache, 1)
    two, of_two = trained(tmp_path / "two", cache, 2)
    difference = (parameters(two) - parameters(one)).norm() / parameters(one).norm()
    assert float(difference) < 1e-10
    assert [r["type"] for r in of_two] == [r["type"] for r in of_one]
    assert of_two[-1]["test"]["forces_rmse"] == pytest.approx(of_one[-1]["test"]["forces_rmse"])


def test_a_mistake_that_a_worker_finds_is_one_line_and_not_tried_again(cache, tmp_path):
    job = job_in(tmp_path / "run", cache, start=tmp_path / "nothing")
    with pytest.raises(UserError, match="nothing: no potential here") as caught:
        fit(job, Resources(1, 1, "cpu"), SESSION, tmp_path / "run" / ".ray")
    assert "\n" not in str(caught.value)
    assert not job.journal.exists()
