"""Files -> cache, by Ray Data: a task prepares one block of a file; done once for the same content
and options.

The folder of a cache appears whole, by a rename; its name is the sha256 of the contents of the
files and of the options. The files and the cache must be seen by every node of the cluster.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..data import read
from ..data.filter import NO_LIMITS, Limits
from ..data.inputs import Input, Options, fingerprint, hashes, inputs_of
from ..data.keys import KNOWN_NAMES, Keys
from ..data.manifest import NAME, Manifest
from ..data.place import Places
from ..data.prepare import PARTS, Skipped, gather, part, prepare_block
from ..data.schema import SPLITS
from ..errors import UserError
from ..files import folder_beside
from .errors import unwrap


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
    with folder_beside(final) as beside:
        (beside / PARTS).mkdir()
        _prepared(beside, files, options).save()
        return _renamed(beside, final)


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
    """Name of each item and what of it was left out, as the tasks end. Raises the UserError of a
    task.

    One task a processor, which takes block after block: Ray Data looks at its tasks ten times a
    second and not when one of several ends, which would leave a processor idle for as long as a
    block takes.
    """
    import ray
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    tasks = max(1, min(len(items), int(ray.cluster_resources().get("CPU", 1))))
    dataset = ray.data.from_items([{"task": n} for n in range(tasks)], override_num_blocks=tasks)
    try:
        for row in dataset.flat_map(
            _task,
            fn_kwargs={"items": items, "options": options, "one_node": _one_node()},
            compute=ray.data.TaskPoolStrategy(tasks),
            num_cpus=_claimed_by_each(),
        ).iter_rows():
            summary = json.loads(row["summary"])
            if "error" in summary:
                raise UserError(summary["error"])
            yield summary["name"], [tuple(pair) for pair in summary["skipped"]]
    except Exception as error:
        raise (unwrap(error) or error) from None


def _claimed_by_each() -> int:
    """CPUs that a task asks for: none on a single node, where there are as many tasks as CPUs.

    Ray Data learns a second or two after its start how many CPUs there are, and until then runs one
    task that asks for any. On several nodes the claim is what places the tasks.
    """
    return int(not _one_node())


def _one_node() -> bool:
    import ray

    return sum(node["Alive"] for node in ray.nodes()) == 1


def _task(row: dict, items: list[dict], options: Options, one_node: bool) -> list[dict]:
    """The next block that no task has taken, from file to parts, and on one node into the sets,
    until there is none. A mistake of the user is data here: Ray would log its traceback.
    """
    done = []
    places = Places([(item["folder"], item["name"]) for item in items], bool(options.test_fraction))
    try:
        for number, item in enumerate(items):
            if _taken(item, row["task"]):
                skipped = prepare_block(**item, options=options)
                if one_node:
                    places.add(number)
                done.append({"name": item["name"], "skipped": skipped})
    except UserError as error:
        done.append({"error": str(error)})
    return [{"summary": json.dumps(each)} for each in done]


def _taken(item: dict, task: int) -> bool:
    """Whether a block is this task's: who comes first has it, even begun anew after it was lost."""
    mark = item["folder"] / PARTS / f"taken-{item['name']}"
    try:
        mark.symlink_to(str(task))
        return True
    except FileExistsError:
        return str(mark.readlink()) == str(task)
