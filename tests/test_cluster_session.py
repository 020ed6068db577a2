"""What is asked of a cluster is compared with what it has, before anything starts."""

from pathlib import Path

import pytest

from lightpfp_ray.cluster.session import Resources, resources
from lightpfp_ray.cluster.storage import refuse_unshared
from lightpfp_ray.errors import UserError

pytestmark = pytest.mark.usefixtures("ray_cluster")  # of 4 CPUs


@pytest.mark.parametrize(("workers", "each"), [(1, 4), (2, 2), (3, 1), (4, 1)])
def test_workers_share_the_cpus_of_a_machine(workers, each):
    assert resources(workers, None, "auto", local=True) == Resources(workers, each, "cpu")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ((5, None, "auto"), "--workers 5 with 1 CPU each found a cluster of 4 CPUs"),
        ((2, 3, "cpu"), "--workers 2 with 3 CPU each found a cluster of 4 CPUs"),
        ((1, 1, "cuda"), "--workers 1 with 1 CPU and 1 GPU each found a cluster of 4 CPUs"),
    ],
)
def test_more_than_the_cluster_has_is_refused(asked, said):
    with pytest.raises(UserError, match=said):
        resources(*asked, local=True)


def test_a_folder_that_every_node_sees_is_accepted_and_left_as_it_was(tmp_path):
    refuse_unshared(tmp_path / "not" / "there")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_refused():
    with pytest.raises(UserError, match="cannot be written"):
        refuse_unshared(Path("/proc/1"))
