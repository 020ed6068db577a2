"""What the tasks of a preparation do: each a block of a file, from reading to parts on disk; then
one pass over the parts to the sets of the cache.

Nothing here knows what runs the tasks. Some thousand atoms are in memory at a time, however large a
file or a set is.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..errors import UserError
from . import filter as kept_or_not
from . import flat, schema
from .inputs import Input, Options, fingerprint, hashes
from .manifest import EXAMPLES, SKIPPED, Manifest
from .neighbors import search
from .parts import Part, rows_of
from .read import Block, read_block

PARTS = "parts"
"""Folder of what the tasks wrote, in a cache that is being made."""

Skipped = list[tuple[str, str]]
"""(source, reason)"""


def prepare_block(
    block: Block, split: str | None, folder: Path, name: str, options: Options
) -> Skipped:
    """Read, filter, find edges, split, write: a block of a file to one part for each split.

    `split` is that of all structures of the block; None: the content of each decides. Gives what
    was not kept.
    """
    with ExitStack() as stack:
        paths = {each: part(folder, each, name) for each in schema.SPLITS}
        parts = {each: stack.enter_context(Part(path)) for each, path in paths.items()}
        return list(_prepare(block, split, parts, options))


def _prepare(
    block: Block, split: str | None, parts: Mapping[str, Part], options: Options
) -> Iterator[tuple[str, str]]:
    """Fill the parts; what was skipped."""
    for structure in read_block(block):
        reason = kept_or_not.skip_reason(
            structure, options.max_energy, options.max_forces, options.limits
        )
        if reason is None:
            edges = search(structure.positions, structure.cell, structure.pbc, options.cutoff)
            reason = kept_or_not.distance_reason(edges.shortest, options.limits)
        if reason is not None:
            yield structure.source, reason
            continue
        content = schema.content_hash(structure)
        side = split or schema.split_of(content, options.seed, options.test_fraction)
        parts[side].add(content, structure, edges)


def part(folder: Path, split: str, name: str) -> Path:
    """The folder that a task writes, in the cache `folder`."""
    return folder / PARTS / f"{split}-{name}"


def gather(folder: Path, files: list[Input], options: Options, skipped: Skipped) -> Manifest:
    """The sets of a cache from its parts, skipped.csv and the manifest, which is not saved.

    Raises UserError where no structure is left.
    """
    lone = _nearest(folder, options.seed) if options.test_fraction else None
    for split in schema.SPLITS:
        _join(folder, split, lone)
    with (folder / SKIPPED).open("w", newline="") as file:
        csv.writer(file).writerows([("source", "reason"), *skipped])
    manifest = _manifest(folder, files, options, skipped, lone)
    _refuse_empty(manifest, options)
    return manifest


class _Lone(NamedTuple):
    """The structures of one content that are moved, so that neither split is empty."""

    id: str
    home: str  # the split that holds all structures


def _nearest(folder: Path, seed: int) -> _Lone | None:
    """Where chance left one side empty, the structure that was nearest to it, with its equals.

    Only a handful of structures is ever that unlucky. One structure alone is for training.
    """
    if all(any(map(len, map(rows_of, _parts(folder, split)))) for split in schema.SPLITS):
        return None
    ids = {split: _ids(folder, split) for split in schema.SPLITS}
    home = "train" if ids["train"] else "test"
    if not ids[home] or (home == "train" and len(ids[home]) < 2):
        return None
    choose = min if home == "train" else max
    return _Lone(choose(ids[home], key=lambda i: schema.split_score(i, seed)), home)


def _ids(folder: Path, split: str) -> set[str]:
    return {i for path in _parts(folder, split) for i in rows_of(path)["id"].to_pylist()}


def _parts(folder: Path, split: str) -> list[Path]:
    return sorted((folder / PARTS).glob(f"{split}-*"))


def _join(folder: Path, split: str, lone: _Lone | None) -> None:
    """The set of a split; with `lone`, of those that stay at home, or of those that move here."""
    if lone is None:
        flat.join(folder / split, _parts(folder, split))
        return

    def here(rows: pa.Table) -> np.ndarray:
        return (np.array(rows["id"].to_pylist()) == lone.id) != (split == lone.home)

    flat.join(folder / split, _parts(folder, lone.home), here)


def _manifest(
    folder: Path, files: list[Input], options: Options, skipped: Skipped, lone: _Lone | None
) -> Manifest:
    sets = {split: flat.opened(folder / split) for split in schema.SPLITS}
    rows = {split: found.structures for split, found in sets.items()}
    shortest = [pc.min(table["min_distance"]).as_py() for table in rows.values() if len(table)]
    moved = next((len(rows[s]) for s in schema.SPLITS if s != lone.home), 0) if lone else 0
    return Manifest(
        path=folder,
        fingerprint=fingerprint(files, options),
        files=hashes(files),
        cutoff=options.cutoff,
        options={name: value for name, value in asdict(options).items() if name != "cutoff"},
        kept={split: len(table) for split, table in rows.items()},
        n_atoms={split: len(found.arrays["numbers"]) for split, found in sets.items()},
        missing={split: _missing(table) for split, table in rows.items()},
        skipped=dict(sorted(Counter(reason for _, reason in skipped).items())),
        skipped_examples=_examples(skipped),
        elements=tuple(sorted({z for found in sets.values() for z in found.elements})),
        min_distance=min((r for r in shortest if np.isfinite(r)), default=None),
        duplicates_across=pc.sum(
            pc.is_in(rows["test"]["id"], rows["train"]["id"].combine_chunks())
        ).as_py()
        or 0,
        moved=moved,
    )


def _missing(structures: pa.Table) -> dict[str, int]:
    """Label -> structures without it."""
    present = {
        "energy": structures["energy"].is_valid(),
        "forces": structures["has_forces"],
        "stress": structures["stress"].is_valid(),
    }
    return {label: len(structures) - (pc.sum(has).as_py() or 0) for label, has in present.items()}


def _examples(skipped: Skipped) -> tuple[tuple[str, str], ...]:
    """The first sources of each reason."""
    return tuple(
        row
        for reason in sorted({reason for _, reason in skipped})
        for row in [row for row in skipped if row[1] == reason][:EXAMPLES]
    )


def _refuse_empty(manifest: Manifest, options: Options) -> None:
    sides = [("train", "--data")]
    if options.test_fraction is None:
        sides.append(("test", "--test-data"))
    for split, flag in sides:
        if manifest.kept[split] == 0:
            why = "; ".join(
                f"{count} skipped: {reason}" for reason, count in manifest.skipped.items()
            )
            raise UserError(
                f"no structure left of {flag} ({why or 'all are in the other set'}): "
                "correct the labels or the limits"
            )
