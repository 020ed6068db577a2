"""Files -> cache, by Ray Data: a task prepares one block of a file; done once for the same content
and options.

The folder of a cache appears whole, by a rename; its name is the sha256 of the contents of the
files and of the options. The files and the cache must be seen by every node of the cluster.
"""

from __future__ import annotations

import json
import logging
import pickle
import shutil
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..data import read
from ..data.filter import NO_LIMITS, Limits
from ..data.inputs import Input, Options, fingerprint, hashes, inputs_of
from ..data.keys import KNOWN_NAMES, Keys
from ..data.manifest import NAME, Manifest
from ..data.prepare import PARTS, Skipped, gather, part, prepare_block
from ..data.schema import SPLITS
from ..errors import UserError
from .errors import unwrap

TASKS = 4
"""For each processor, of several blocks each: Ray Data takes as long to follow a task as a short
block takes to prepare, and more of them would let equal processors end together.
"""


def prepare(
    data: Sequence[str],
    test_data: Sequence[str],
    *,
    cutoff: float,
    max_energy: float,
    max_forces: float,
    seed: int,
    test_fraction: float,
    cache_root: Path,
    limits: Limits = NO_LIMITS,
    keys: Keys = KNOWN_NAMES,
) -> Manifest:
    """The cache of some labelled structures, made, or found where the same was made before.

    data, test_data: files, folders, globs. Without test_data the structures of data are split by
    the hash of their content and the seed; with it, data is the training set. cutoff in A,
    max_energy in eV per atom, max_forces in eV/A, further `limits`; `keys` name
    the labels of the files. Ray is initialised by the caller. Raises
    UserError where a file cannot be read or a set is empty.
    """
    options = Options(
        float(cutoff),
        float(max_energy),
        float(max_forces),
        int(seed),
        None if test_data else float(test_fraction),
        limits,
        keys,
    )
    files = inputs_of(data, test_data)
    name = fingerprint(files, options)[:32]
    root = Path(cache_root).resolve()
    final = root / name
    if (final / NAME).exists():
        return Manifest.load(final).as_reused(hashes(files))
    beside = root / f".{name}-{uuid.uuid4().hex[:8]}"
    (beside / PARTS).mkdir(parents=True)
    try:
        _prepared(beside, files, options).save()
        return _renamed(beside, final)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _renamed(beside: Path, final: Path) -> Manifest:
    """Give the finished folder its name; if another process was faster, its folder is as good."""
    if final.exists() and not (final / NAME).exists():
        shutil.rmtree(final)
    try:
        beside.rename(final)
    except OSError:
        if not (final / NAME).exists():
            raise
    return Manifest.load(final)


def _prepared(folder: Path, files: list[Input], options: Options) -> Manifest:
    """Fill a folder with the sets of all files; the manifest of it."""
    items = _items(folder, files, options)
    skipped = dict(_skipped(items, options))
    if not all(part(folder, split, item["name"]).exists() for item in items for split in SPLITS):
        raise UserError(
            f"{folder.parent} is not the same folder on all nodes of the cluster: use a "
            "shared file system"
        )
    in_order = [row for item in items for row in skipped[item["name"]]]
    manifest = gather(folder, files, options, in_order)
    shutil.rmtree(folder / PARTS)
    return manifest


def _items(folder: Path, files: list[Input], options: Options) -> list[dict]:
    """One item a block of a file, with what a task needs."""
    labels = read.labels_of(file.path for file in files)
    items = []
    for file in files:
        split = "test" if file.role == "test-data" else "train"
        for block in read.blocks_of(file.path, labels[file.path], keys=options.keys):
            items.append(
                {
                    "block": block,
                    "split": split if options.test_fraction is None else None,
                    "folder": folder,
                    "name": f"{len(items):06d}",
                }
            )
    return items


def _skipped(items: list[dict], options: Options) -> Iterator[tuple[str, Skipped]]:
    """Name of each item and what its task left out, as they finish. Raises the UserError of a
    task.
    """
    import ray
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    work = [{"work": pickle.dumps((item, options))} for item in items]
    tasks = min(len(work), TASKS * int(ray.cluster_resources().get("CPU", 1)))
    dataset = ray.data.from_items(work, override_num_blocks=tasks)
    try:
        for row in dataset.map(_task).iter_rows():
            summary = json.loads(row["summary"])
            if "error" in summary:
                raise UserError(summary["error"])
            yield summary["name"], [tuple(pair) for pair in summary["skipped"]]
    except Exception as error:
        raise (unwrap(error) or error) from None


def _task(row: dict) -> dict:
    """One block, from file to parts. A mistake of the user is data here: Ray would log its
    traceback.
    """
    item, options = pickle.loads(row["work"])
    try:
        summary = {"name": item["name"], "skipped": prepare_block(**item, options=options)}
    except UserError as error:
        summary = {"error": str(error)}
    return {"summary": json.dumps(summary)}
