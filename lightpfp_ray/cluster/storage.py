"""Whether every node of a cluster sees the folders of a run: asked before anything is started."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ..errors import UserError

TIMEOUT_S = 30
"""How long a node has to answer."""

SEEN = "seen"

FULL_OR_FORBIDDEN = {
    errno.ENOSPC: "there is no space left",
    errno.EDQUOT: "the quota is used up",
    errno.EROFS: "it is read-only",
    errno.EACCES: "writing is not permitted",
    errno.EPERM: "writing is not permitted",
}
"""What a user can mend, by error number."""


def refuse_unshared(folder: Path) -> None:
    """Write in a folder on the driver and read it on every node, and the other way around.

    A folder that is not there yet stands for its nearest parent. Raises UserError for a folder that
    cannot be written or that a node does not see, and for a node that does not answer.
    """
    existing = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    try:
        probe = Path(tempfile.mkdtemp(prefix=".lightpfp-probe-", dir=existing))
    except OSError as error:
        raise unwritable(existing, error) from None
    try:
        (probe / "driver").write_text(SEEN)
        for node in (node for node in ray.nodes() if node["Alive"]):
            _refuse_unshared_by(node, probe, existing)
    except OSError as error:
        raise unwritable(existing, error) from None
    finally:
        shutil.rmtree(probe, ignore_errors=True)


def unwritable(folder: Path, error: OSError) -> UserError:
    """The line for a folder that the operating system refuses to write to."""
    why = FULL_OR_FORBIDDEN.get(error.errno, error.strerror or str(error))
    return UserError(
        f"{folder} cannot be written ({why}): make room for it, or name another "
        "folder; what was saved before is intact"
    )


def _refuse_unshared_by(node: dict, probe: Path, folder: Path) -> None:
    name, address = node["NodeID"], node["NodeManagerAddress"]
    strategy = NodeAffinitySchedulingStrategy(name, soft=False)
    task = ray.remote(_answer).options(num_cpus=0, scheduling_strategy=strategy)
    try:
        found = ray.get(task.remote(str(probe), name), timeout=TIMEOUT_S)
    except ray.exceptions.RayError as error:
        raise UserError(
            f"node {address} of the cluster did not answer within {TIMEOUT_S} s "
            f"({type(error).__name__}): is it out of memory, or busy? Try again, or take it away"
        ) from None
    if found == SEEN and not (probe / name).exists():
        found = "what it writes is not seen here"
    if found != SEEN:
        raise UserError(
            f"{folder} is not one folder for all nodes of the cluster (node {address}: {found}): "
            "put --output and --cache on a shared file system"
        )


def _answer(probe: str, name: str) -> str:
    """On a node: whether the driver's file is there, and one of its own beside it."""
    try:
        if Path(probe, "driver").read_text() != SEEN:
            return "it reads something else there"
        Path(probe, name).write_text(os.uname().nodename)
    except OSError as error:
        return f"it finds {error.strerror or error}"
    return SEEN
