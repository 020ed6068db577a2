"""Findings of the short check, kept in the cache of the structures that they are about."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from ..data.dataset import StructureSet
from ..data.manifest import Manifest
from ..files import write_atomically
from .findings import Finding

NAME = "doctor.json"
"""Beside manifest.json."""

VERSION = 1
"""Raised when `brief` finds something else, or says it otherwise."""


def kept_brief(manifest: Manifest, train: StructureSet) -> list[Finding]:
    """What `brief` finds in the training set of a cache: looked for once, read afterwards.

    They depend on the structures and the cutoff, which the manifest's fingerprint stands for, and
    on VERSION. A file that is not whole is made again; a cache that cannot be written holds none.
    """
    path, key = manifest.path / NAME, {"fingerprint": manifest.fingerprint, "version": VERSION}
    found = _read(path, key)
    if found is None:
        from .brief import brief  # a fifth of a second of imports, which a second start saves

        found = brief(train, manifest.cutoff)
        content = key | {"findings": [finding.as_dict() for finding in found]}
        with contextlib.suppress(OSError):
            write_atomically(path, json.dumps(content, indent=2).encode())
    return found


def _read(path: Path, key: dict) -> list[Finding] | None:
    """None where there are none of this key."""
    try:
        content = json.loads(path.read_text())
        if any(content[name] != value for name, value in key.items()):
            return None
        return [Finding(**each | {"where": tuple(each["where"])}) for each in content["findings"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
