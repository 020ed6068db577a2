"""cluster.yaml, configs/rayjob.yaml and the Dockerfile: valid, agreeing, closed to strangers."""

import copy
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml
from packaging.requirements import Requirement

from lightpfp_ray.cli.train import train

from .cluster_schemas import REFUSALS, check_cluster, check_job

ROOT = Path(__file__).parents[1]
CLUSTER_TEXT = (ROOT / "cluster.yaml").read_text()
JOB_TEXT = (ROOT / "configs" / "rayjob.yaml").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()
CLUSTER, JOB = yaml.safe_load(CLUSTER_TEXT), yaml.safe_load(JOB_TEXT)
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HEAD = JOB["spec"]["rayClusterSpec"]["headGroupSpec"]
WORKERS = JOB["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]
PODS = [group["template"]["spec"] for group in (HEAD, WORKERS)]
CONTAINERS = [pod["containers"][0] for pod in PODS]


def keys(value, path=()):
    """Paths of all keys in nested mappings and lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        if isinstance(value, dict):
            yield (*path, key)
        if isinstance(inner, dict | list):
            yield from keys(inner, (*path, key))


def at(config, path):
    for key in path:
        config = config[key]
    return config


def misspelled(config, path):
    """A copy whose key at the path lacks its last letter."""
    config = copy.deepcopy(config)
    parent = at(config, path[:-1])
    parent[path[-1][:-1]] = parent.pop(path[-1])
    return config


def changed(config, path, value):
    config = copy.deepcopy(config)
    at(config, path[:-1])[path[-1]] = value
    return config


NAMES_OF_OURS = {("available_node_types", "worker"), ("file_mounts", "/home/ray/.ray/auth_token")}
CLUSTER_KEYS = [path for path in keys(CLUSTER) if path not in NAMES_OF_OURS]


def dotted(path):
    return ".".join(map(str, path))


def test_ray_accepts_the_cluster():
    check_cluster(CLUSTER)


@pytest.mark.parametrize("path", CLUSTER_KEYS, ids=dotted)
def test_a_misspelled_key_of_the_cluster_is_refused(path):
    with pytest.raises(REFUSALS):
        check_cluster(misspelled(CLUSTER, path))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("max_workers",), "4"),
        (("head_node_type",), "heads"),
        (("provider", "type"), "awss"),
        (("docker", "run_options"), "--env RAY_AUTH_MODE=token"),
        (("docker", "image"), ""),
        (("available_node_types", "worker", "min_workers"), 2.5),
        (("available_node_types", "head", "resources", "CPU"), "0"),
        (("initialization_commands",), "true"),
    ],
    ids=lambda part: dotted(part) if isinstance(part, tuple) else str(part),
)
def test_a_wrong_value_in_the_cluster_is_refused(path, value):
    with pytest.raises(REFUSALS):
        check_cluster(changed(CLUSTER, path, value))


def test_the_cluster_becomes_one_of_own_machines_as_it_says():
    own = changed(CLUSTER, ("provider",), {"type": "local", "head_ip": "h", "worker_ips": ["w"]})
    del own["available_node_types"], own["head_node_type"]
    check_cluster(own)


def test_the_job_fits_its_schema():
    check_job(JOB)


@pytest.mark.parametrize("path", list(keys(JOB)), ids=dotted)
def test_a_misspelled_key_of_the_job_is_refused(path):
    with pytest.raises(jsonschema.ValidationError):
        check_job(misspelled(JOB, path))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("kind", "RayJbo"),
        ("metadata.name", "Lightpfp_train"),
        ("spec.submissionMode", "SidecarMod"),
        ("spec.backoffLimit", "3"),
        ("spec.ttlSecondsAfterFinished", -1),
        ("spec.rayClusterSpec.authOptions.mode", "tokens"),
        ("spec.rayClusterSpec.rayVersion", 2.6),
        ("spec.rayClusterSpec.headGroupSpec.rayStartParams.num-cpus", 0),
        ("spec.rayClusterSpec.headGroupSpec.template.spec.restartPolicy", "Nevr"),
        ("spec.rayClusterSpec.headGroupSpec.template.spec.securityContext.runAsUser", 0),
    ],
)
def test_a_wrong_value_in_the_job_is_refused(path, value):
    with pytest.raises(jsonschema.ValidationError):
        check_job(changed(JOB, path.split("."), value))


def test_volumes_are_mounted_by_the_names_they_have():
    for pod in PODS:
        mounted = {mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_one_image_of_this_version_everywhere():
    images = {CLUSTER["docker"]["image"], *(container["image"] for container in CONTAINERS)}
    assert len(images) == 1
    (image,) = images
    assert image.rpartition(":")[2] == PROJECT["version"]
    assert f"docker build -t {image} ." in DOCKERFILE


def test_one_ray_everywhere_that_the_package_admits():
    version = JOB["spec"]["rayClusterSpec"]["rayVersion"]
    assert re.search(r"^ARG RAY_VERSION=(.+)$", DOCKERFILE, re.M)[1] == version
    train = PROJECT["optional-dependencies"]["train"]
    (ray,) = (r for r in map(Requirement, train) if r.name == "ray")
    assert ray.specifier.contains(version)
    extras = re.search(r'"ray\[(.+)\]==\$RAY_VERSION"', DOCKERFILE)[1]
    assert set(extras.split(",")) == ray.extras


def test_the_image_has_the_torch_that_the_package_admits():
    (torch,) = (r for r in map(Requirement, PROJECT["dependencies"]) if r.name == "torch")
    assert Requirement(re.search(r"'(torch.+)'", DOCKERFILE)[1]).specifier == torch.specifier


def test_the_image_runs_as_the_user_of_the_pods():
    users = re.findall(r"^USER (.+)$", DOCKERFILE, re.M)
    assert users == ["1000"]
    assert "useradd --create-home --uid 1000" in DOCKERFILE
    assert {pod["securityContext"]["runAsUser"] for pod in PODS} == {1000}


def submitted():
    """The line of cluster.yaml's head that submits a job, in words."""
    return shlex.split(re.search(r"^#   (ray job submit .+)$", CLUSTER_TEXT, re.M)[1])


def training_commands():
    """Words of `lightpfp-ray train`, as both files call it."""
    words = submitted()
    return [words[words.index("--") + 1 :], shlex.split(JOB["spec"]["entrypoint"])]


def test_the_command_line_knows_the_training_commands():
    for words in training_commands():
        assert words[:2] == ["lightpfp-ray", "train"]
        assert "lightpfp-ray" in PROJECT["scripts"]
        train.make_context("train", words[2:])  # exits with 2 on an unknown option


# Ray's own, in the settings of Ray Serve that its command line imports
@pytest.mark.filterwarnings("ignore:Using extra keyword arguments on `Field`")
def test_ray_knows_its_commands():
    from ray.dashboard.modules.job.cli import submit
    from ray.scripts.scripts import start

    words = submitted()
    assert words[:3] == ["ray", "job", "submit"]
    submit.make_context("submit", words[3:])
    starts = [
        shlex.split(command)[2:]
        for when in ("head", "worker")
        for command in CLUSTER[f"{when}_start_ray_commands"]
        if command.startswith("ray start ")
    ]
    starts += [[f"--{name}={value}" for name, value in HEAD["rayStartParams"].items()]]
    assert len(starts) == 3
    for words in starts:
        start.make_context("start", words)


def test_the_shell_can_read_every_command():
    commands = [command for key in CLUSTER if key.endswith("commands") for command in CLUSTER[key]]
    for command in [*commands, JOB["spec"]["entrypoint"]]:
        subprocess.run(["bash", "-n", "-c", command], check=True)


def test_the_training_fits_the_nodes():
    on_aws, on_kubernetes = (
        train.make_context("train", words[2:]).params for words in training_commands()
    )
    assert on_aws["workers"] <= CLUSTER["available_node_types"]["worker"]["min_workers"]
    assert on_kubernetes["workers"] <= WORKERS["replicas"]
    cpus = CONTAINERS[1]["resources"]["limits"]["cpu"]
    assert on_kubernetes["cpus_per_worker"] <= int(cpus)


def test_training_reads_and_writes_on_storage_that_all_nodes_mount():
    assert "--volume /shared:/shared" in CLUSTER["docker"]["run_options"]
    assert any("/shared" in c and " mount " in c for c in CLUSTER["initialization_commands"])
    for container in CONTAINERS:
        assert [mount["mountPath"] for mount in container["volumeMounts"]] == ["/shared"]
    for words in training_commands():
        options = train.make_context("train", words[2:]).params
        for path in (options["control"], *options["data"], options["output"]):
            assert Path(path).is_relative_to("/shared")


def test_token_authentication_is_on():
    assert "--env RAY_AUTH_MODE=token" in CLUSTER["docker"]["run_options"]
    home = re.search(r"^ENV HOME=(.+)$", DOCKERFILE, re.M)[1]
    assert CLUSTER["file_mounts"] == {f"{home}/.ray/auth_token": "~/.ray/auth_token"}
    assert "export RAY_AUTH_MODE=token" in CLUSTER_TEXT
    assert JOB["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}


def test_the_dashboard_listens_on_loopback():
    (head,) = (c for c in CLUSTER["head_start_ray_commands"] if c.startswith("ray start"))
    assert "--dashboard-host=127.0.0.1" in head.split()
    assert "0.0.0.0" not in CLUSTER_TEXT + JOB_TEXT
