"""What several tests share: one Ray session, one trained folder, one empty store of MLflow."""

import os
from pathlib import Path

import pytest

RAY_SETTINGS = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}


@pytest.fixture(scope="session")
def ray_cluster():
    """A local Ray of 4 CPUs, whose workers can import the tests and the package; started once."""
    import ray

    here = Path(__file__).parent
    paths = [str(here), str(here.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**RAY_SETTINGS, "PYTHONPATH": os.pathsep.join(paths)}.items():
            patch.setenv(name, value)
        ray.init(
            num_cpus=4,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=200 * 2**20,
        )
        yield ray
        ray.shutdown()


@pytest.fixture(scope="session")
def trained_folder(tmp_path_factory):
    """The output folder of a small training; to be copied, not changed."""
    from .tracking_samples import finished_run

    return finished_run(tmp_path_factory.mktemp("trained") / "run")


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """A database file of MLflow with its tables, which take seconds to make; to be copied."""
    from lightpfp_ray.tracking.store import connect

    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    connect(f"sqlite:///{file}").search_experiments()
    return file
