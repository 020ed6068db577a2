"""Checks of cluster.yaml and of the RayJob that fail on any misspelled key.

Ray checks its own file, offline. What Ray leaves open there, and the RayJob, are held against
schemas that allow what is used here and nothing else.
"""

import copy

import jsonschema

REFUSALS = (jsonschema.ValidationError, AssertionError, KeyError, ValueError, NotImplementedError)
"""What Ray raises on a wrong cluster.yaml."""


def closed(optional=(), **properties):
    """Schema of a mapping with these keys and no other, all but `optional` required."""
    required = [name for name in properties if name not in optional]
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def some(item):
    return {"type": "array", "items": item, "minItems": 1}


def one_of(*values):
    return {"enum": list(values)}


def matching(pattern):
    return {"type": "string", "pattern": pattern}


TEXT, POSITIVE = {"type": "string", "minLength": 1}, {"type": "integer", "minimum": 1}

NODE = closed(
    ["InstanceMarketOptions"],
    InstanceType=matching(r"^[a-z0-9-]+\.[a-z0-9]+$"),
    BlockDeviceMappings=some(
        closed(DeviceName=TEXT, Ebs=closed(VolumeSize=POSITIVE, VolumeType=one_of("gp3")))
    ),
    InstanceMarketOptions=closed(MarketType=one_of("spot")),
)
RESOURCES = closed(["CPU", "GPU"], CPU={"type": "integer"}, GPU={"type": "integer"})
LEFT_OPEN_BY_RAY = {
    "properties": {
        "provider": closed(type=one_of("aws"), region=matching(r"^[a-z]+-[a-z]+-[0-9]$")),
        "available_node_types": {
            "additionalProperties": {"properties": {"node_config": NODE, "resources": RESOURCES}}
        },
    }
}

QUANTITY = matching(r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$")
AMOUNTS = closed(["nvidia.com/gpu"], cpu=QUANTITY, memory=QUANTITY, **{"nvidia.com/gpu": QUANTITY})
POD = closed(
    ["restartPolicy"],
    restartPolicy=one_of("Never"),  # the head's, in SidecarMode
    securityContext=closed(
        runAsNonRoot=one_of(True), runAsUser=POSITIVE, runAsGroup=POSITIVE, fsGroup=POSITIVE
    ),
    containers=some(
        closed(
            name=matching("^[a-z0-9-]+$"),
            image=TEXT,
            resources=closed(requests=AMOUNTS, limits=AMOUNTS),
            volumeMounts=some(closed(name=TEXT, mountPath=matching("^/"))),
        )
    ),
    volumes=some(closed(name=TEXT, persistentVolumeClaim=closed(claimName=TEXT))),
)
HEAD_GROUP = closed(
    serviceType=one_of("ClusterIP"),
    rayStartParams=closed(**{"num-cpus": one_of("0")}),
    template=closed(spec=POD),
)
WORKER_GROUP = closed(
    groupName=TEXT,
    replicas=POSITIVE,
    minReplicas=POSITIVE,
    maxReplicas=POSITIVE,
    rayStartParams=closed(),
    template=closed(spec=POD),
)
RAY_JOB = closed(
    apiVersion=one_of("ray.io/v1"),
    kind=one_of("RayJob"),
    metadata=closed(name=matching("^[a-z]([a-z0-9-]*[a-z0-9])?$")),
    spec=closed(
        submissionMode=one_of("SidecarMode"),
        entrypoint=TEXT,
        backoffLimit={"type": "integer", "minimum": 0},
        shutdownAfterJobFinishes=one_of(True),
        ttlSecondsAfterFinished={"type": "integer", "minimum": 0},
        rayClusterSpec=closed(
            rayVersion=matching(r"^[0-9]+\.[0-9]+\.[0-9]+$"),
            authOptions=closed(mode=one_of("token")),
            headGroupSpec=HEAD_GROUP,
            workerGroupSpecs=some(WORKER_GROUP),
        ),
    ),
)


def check_cluster(config):
    """Raises one of REFUSALS where Ray, or the schema of what it leaves open, refuses."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared = prepare_config(copy.deepcopy(config))
    for node_type in prepared["available_node_types"].values():
        node_type.setdefault("resources", {})  # `ray up` asks AWS for them
    validate_config(prepared)
    if config["provider"]["type"] == "aws":
        jsonschema.validate(config, LEFT_OPEN_BY_RAY)


def check_job(config):
    jsonschema.validate(config, RAY_JOB)
