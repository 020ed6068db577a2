"""Files -> cache, by Ray Data: read, filter, edges, split, Parquet shards; done once for the same
content and options.

A task reads one block of a file, writes its shards, and gives back a summary. The folder of a cache
appears whole, by a rename; its name is the sha256 of the contents of the files and of the options.
The files and the cache must be seen by every node of the cluster.
"""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
import shutil
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data import filter as kept_or_not
from ..data import read, schema
from ..data.manifest import EXAMPLES, NAME, SHARDS, Manifest
from ..data.neighbors import edge_lengths, edges
from ..data.structure import Structure
from ..errors import UserError
from .errors import unwrap

Files = list[tuple[str, Path, str]]  # role ("data" or "test-data"), path, sha256 of the content


@dataclass(frozen=True)
class Options:
    """What decides, beside the files, what a cache holds."""

    cutoff: float  # A
    max_energy: float  # eV per atom
    max_forces: float  # eV/A
    seed: int
    test_fraction: float | None  # None: the test set is given


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
) -> Manifest:
    """The cache of some labelled structures, made, or found where the same was made before.

    data, test_data: files, folders, globs. Without test_data the structures of data are split by
    the hash of their content and the seed; with it, data is the training set. cutoff in A,
    max_energy in eV per atom, max_forces in eV/A. Ray is initialised by the caller. Raises
    UserError where a file cannot be read or a set is empty.
    """
    options = Options(
        float(cutoff),
        float(max_energy),
        float(max_forces),
        int(seed),
        None if test_data else float(test_fraction),
    )
    roles = (("data", data), ("test-data", test_data))
    files = [
        (role, path, _sha256(path)) for role, args in roles for path in read.expand_paths(args)
    ]
    if not any(role == "data" for role, _, _ in files):
        raise UserError(
            "no data given, expected files, folders or globs of labelled structures: name "
            "them with --data"
        )
    fingerprint = _fingerprint(files, options)
    root = Path(cache_root).resolve()
    final = root / fingerprint[:32]
    if (final / NAME).exists():
        return Manifest.load(final).as_reused(_hashes(files))
    beside = root / f".{fingerprint[:32]}-{uuid.uuid4().hex[:8]}"
    (beside / SHARDS).mkdir(parents=True)
    try:
        _filled(beside, fingerprint, files, options).save()
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


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}): give a readable file"
        ) from error


def _fingerprint(files: Files, options: Options) -> str:
    """Content, name and role of the files, in any order; options; versions of the code that reads
    them.

    The name counts because it tells the format, and because sources are named by it.
    """
    inputs = sorted((role, sha256, path.name) for role, path, sha256 in files)
    key = [inputs, sorted(vars(options).items()), schema.VERSION, read.VERSION]
    return hashlib.sha256(json.dumps(key).encode()).hexdigest()


def _hashes(files: Files) -> dict[str, str]:
    return {str(path): sha256 for _, path, sha256 in files}


def _filled(folder: Path, fingerprint: str, files: Files, options: Options) -> Manifest:
    """Write the shards of all files into a folder; the manifest of it."""
    summaries = list(_summaries(_items(folder, files, options), options))
    missing_shards = [
        name for s in summaries for name in s["shards"] if not (folder / SHARDS / name).exists()
    ]
    if missing_shards:
        raise UserError(
            f"{folder.parent} is not the same folder on all nodes of the cluster: use a "
            "shared file system"
        )
    moved = 0 if options.test_fraction in (None, 0.0) else _balance(folder, summaries, options.seed)
    manifest = _manifest(folder, fingerprint, files, options, summaries, moved)
    _refuse_empty(manifest, options)
    return manifest


def _items(folder: Path, files: Files, options: Options) -> list[dict]:
    """One item a block of a file, with all that a task needs."""
    names = Counter(path.name for path in {path for _, path, _ in files})
    items = []
    for role, path, _ in files:
        label = path.name if names[path.name] == 1 else str(path)
        split = {"test-data": "test"}.get(role, "train" if options.test_fraction is None else None)
        for block in read.blocks_of(path, label):
            items.append(
                {"block": block, "split": split, "folder": folder, "shard": f"{len(items):06d}"}
            )
    return items


def _summaries(items: list[dict], options: Options) -> Iterator[dict]:
    """What the tasks say of their blocks, as they finish. Raises the UserError of a task."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    work = [{"work": pickle.dumps((item, options))} for item in items]
    dataset = ray.data.from_items(work, override_num_blocks=len(work))
    try:
        for row in dataset.map(_task).iter_rows():
            summary = json.loads(row["summary"])
            if "error" in summary:
                raise UserError(summary["error"])
            yield summary
    except Exception as error:
        raise (unwrap(error) or error) from None


def _task(row: dict) -> dict:
    """One block, from file to shards. A mistake of the user is data here: Ray would log its
    traceback.
    """
    item, options = pickle.loads(row["work"])
    try:
        summary = summary_of_block(**item, options=options)
    except UserError as error:
        summary = {"error": str(error)}
    return {"summary": json.dumps(summary)}


def summary_of_block(
    block: read.Block, split: str | None, folder: Path, shard: str, options: Options
) -> dict:
    """Read a block, write its shards `folder/shards/<split>-<shard>.parquet`, say what is in them
    (JSON).
    """
    import pyarrow.parquet as pq

    kept, skipped = _kept(block, options)
    table = schema.rows_of(*([row[i] for row in kept] for i in range(3)))
    ids = table["id"].to_pylist()
    side = [split or schema.split_of(i, options.seed, options.test_fraction) for i in ids]
    shards = {}
    for name in schema.SPLITS:
        part = table.filter(np.array([s == name for s in side], bool))
        if len(part):
            file = f"{name}-{shard}.parquet"
            pq.write_table(part, folder / SHARDS / file, compression="zstd")
            shards[file] = _contents(part)
    return {"shards": shards, "skipped": skipped}


def _kept(block: read.Block, options: Options) -> tuple[list[tuple], dict[str, list]]:
    """(structure, edges, shortest edge) of what is kept; reason -> [count, first sources] of what
    is not.
    """
    kept, skipped = [], {}
    for structure in read.read_block(block):
        reason = kept_or_not.skip_reason(structure, options.max_energy, options.max_forces)
        if reason is None:
            found = edges(structure.positions, structure.cell, structure.pbc, options.cutoff)
            shortest = _shortest(structure, found)
            reason = kept_or_not.distance_reason(shortest)
        if reason is None:
            kept.append((structure, found, shortest))
            continue
        count, sources = skipped.get(reason, (0, []))
        skipped[reason] = (count + 1, [*sources, structure.source][:EXAMPLES])
    return kept, skipped


def _shortest(structure: Structure, found: schema.Edges) -> float:
    return float(edge_lengths(structure.positions, structure.cell, *found).min(initial=np.inf))


def _contents(table) -> dict:
    """Figures of a shard, for the manifest (JSON)."""
    shortest = np.min(table["min_distance"].to_numpy())
    return {
        "ids": table["id"].to_pylist(),
        "n_atoms": int(np.sum(table["n_atoms"].to_numpy())),
        "missing": {name: table[name].null_count for name in schema.LABELS},
        "elements": np.unique(table["numbers"].combine_chunks().flatten().to_numpy()).tolist(),
        "min_distance": float(shortest) if np.isfinite(shortest) else None,
    }


def _balance(folder: Path, summaries: list[dict], seed: int) -> int:
    """Where chance left one side empty, move the structure that was nearest to it, and its equals;
    how many moved.

    Only a handful of structures is ever that unlucky. One structure alone is for training.
    """
    shards = {name: contents for s in summaries for name, contents in s["shards"].items()}
    ids = {
        split: {i for n, c in shards.items() if n.startswith(split) for i in c["ids"]}
        for split in schema.SPLITS
    }
    full = "train" if ids["train"] else "test"
    empty = "test" if full == "train" else "train"
    if ids[empty] or not ids[full] or (empty == "test" and len(ids[full]) < 2):
        return 0
    nearest = (min if empty == "test" else max)(
        ids[full], key=lambda i: schema.split_score(i, seed)
    )
    for summary in summaries:
        moving = [
            name for name, contents in summary["shards"].items() if nearest in contents["ids"]
        ]
        for name in moving:
            _move(folder / SHARDS, name, name.replace(full, empty), nearest, summary["shards"])
    return sum(c["ids"].count(nearest) for c in shards.values())


def _move(folder: Path, name: str, other: str, content: str, shards: dict) -> None:
    """Write the rows of one content hash from shard `name` to shard `other`."""
    import pyarrow.parquet as pq

    table = pq.read_table(folder / name)
    chosen = np.array([i == content for i in table["id"].to_pylist()], bool)
    (folder / name).unlink()
    del shards[name]
    for file, rows in ((other, chosen), (name, ~chosen)):
        if rows.any():
            pq.write_table(table.filter(rows), folder / file, compression="zstd")
            shards[file] = _contents(table.filter(rows))


def _manifest(
    folder: Path,
    fingerprint: str,
    files: Files,
    options: Options,
    summaries: list[dict],
    moved: int,
) -> Manifest:
    shards = {
        n: [c for s in summaries for f, c in s["shards"].items() if f.startswith(n)]
        for n in schema.SPLITS
    }
    every = [contents for split in shards.values() for contents in split]
    train = {i for contents in shards["train"] for i in contents["ids"]}
    skipped, examples = _skipped(summaries)
    return Manifest(
        path=folder,
        fingerprint=fingerprint,
        files=_hashes(files),
        cutoff=options.cutoff,
        options={name: value for name, value in vars(options).items() if name != "cutoff"},
        kept={n: sum(len(c["ids"]) for c in split) for n, split in shards.items()},
        n_atoms={n: sum(c["n_atoms"] for c in split) for n, split in shards.items()},
        missing={
            n: {
                label: sum(c["missing"][label] for c in split)
                for label in ("energy", "forces", "stress")
            }
            for n, split in shards.items()
        },
        skipped=skipped,
        skipped_examples=examples,
        elements=tuple(sorted({e for c in every for e in c["elements"]})),
        min_distance=min(
            (c["min_distance"] for c in every if c["min_distance"] is not None), default=None
        ),
        duplicates_across=sum(i in train for c in shards["test"] for i in c["ids"]),
        moved=moved,
    )


def _missing(shards: list[dict]) -> dict[str, int]:
    """Label -> structures without it."""
    return {
        label: sum(contents["missing"][label] for contents in shards) for label in schema.LABELS
    }


def _skipped(summaries: list[dict]) -> tuple[dict[str, int], tuple[tuple[str, str], ...]]:
    """Reason -> count, and the first sources of each reason."""
    counts: Counter = Counter()
    examples: dict[str, list[str]] = {}
    for summary in summaries:
        for reason, (count, sources) in summary["skipped"].items():
            counts[reason] += count
            examples.setdefault(reason, []).extend(sources)
    named = tuple(
        (source, reason)
        for reason in sorted(counts)
        for source in sorted(examples[reason])[:EXAMPLES]
    )
    return dict(sorted(counts.items())), named


def _refuse_empty(manifest: Manifest, options: Options) -> None:
    sides = [("train", "--data")] + (
        [("test", "--test-data")] if options.test_fraction is None else []
    )
    for split, flag in sides:
        if manifest.kept[split] == 0:
            why = "; ".join(
                f"{count} skipped: {reason}" for reason, count in manifest.skipped.items()
            )
            raise UserError(
                f"no structure left of {flag} ({why or 'all are in the other set'}): "
                "correct the labels or the limits"
            )
