"""What several tests share: one Ray session."""

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
