"""Small clean files of every format, and how they are damaged by a seeded choice.

Cut off, bits flipped, numbers made NaN, infinite or absurd, cells made zero or singular, atoms put
on one another, arrays of wrong shapes and types, control files with hostile values. `fuzz.py` sees
what becomes of them.
"""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FORMATS = (
    "a.extxyz", "a.extxyz.gz", "a.extxyz.xz", "a.cfg", "a.h5", "a.parquet", "a.traj", "a.db",
    "OUTCAR", "vasprun.xml", "control.json",
)  # fmt: skip
TEXT = ("a.extxyz", "a.cfg", "OUTCAR", "vasprun.xml", "control.json")
HOSTILE = (
    "nan", "inf", "-inf", "1e400", "-1e308", "1e-320", "0", "-1", "1e99999", "1e5",
    "999999999999999999999", "0x10", "1_000", "None", "\x00", "T", '"', "[" * 3000, "9" * 5000,
    "\u0663", "1,5", "--",
)  # fmt: skip

CELLS = (
    "0 0 0 0 0 0 0 0 0", "1 1 1 1 1 1 1 1 1", "5 0 0 0 5 0 0 0 1e-9", "5 0 0 4.9999 0.001 0 0 0 5",
    "1e-3 0 0 0 1e-3 0 0 0 1e-3", "1e9 0 0 0 1e9 0 0 0 1e9", "-5 0 0 0 5 0 0 0 5",
    "5 0 0 0 5 0 0 0 5", "0.05 0 0 0 50 0 0 0 50", "1e200 0 0 0 1e200 0 0 0 1e200",
)  # fmt: skip


def samples(folder: Path) -> Path:
    """One small clean file of each format, with two structures or more."""
    from ase.build import bulk
    from ase.calculators.emt import EMT
    from ase.db import connect
    from ase.io import read, write

    from lightpfp_ray.data.ase_files import structure_of
    from lightpfp_ray.data.write import writing
    from tests.vasp_samples import outcar, steps, vasprun

    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    images = []
    for _ in range(6):
        atoms = bulk("Cu", cubic=True)
        atoms.positions += 0.1 * rng.normal(size=atoms.positions.shape)
        atoms.calc = EMT()
        atoms.get_stress(), atoms.get_forces()
        images.append(atoms)
    write(folder / "a.traj", images)
    with connect(folder / "a.db") as database:
        for atoms in images:
            database.write(atoms)
    for name in FORMATS[:6]:
        with writing(folder / name) as add:
            for atoms in read(folder / "a.traj", ":"):
                add(structure_of(atoms))
    (folder / "OUTCAR").write_text(outcar(steps(3)))
    (folder / "vasprun.xml").write_text(vasprun(steps(3)))
    (folder / "control.json").write_text(
        json.dumps(
            {
                "common_config": {"total_epoch": 100, "max_forces": 50.0, "batch_size": 8},
                "mtp_config": {"pretrained_model": "", "rc": 5.0, "levmax": 8, "nn_dim_list": [16]},
                "multistage_config": {"lr_list": [0.1, 0.01], "loss_func_list": ["mse", "l1"]},
                "lightpfp_ray": {"seed": 1, "max_stress": 1.0},
            },
            indent=1,
        )
    )
    return folder


def damaged(clean: Path, target: Path, seed: int) -> Path:
    """A damaged copy of one of the files, and how it was damaged in its folder's name."""
    chance = random.Random(seed)
    name = chance.choice(FORMATS)
    kinds = [cut_off, bits_flipped, emptied, repeated]
    kinds += [words_changed] * 4 * (name in TEXT) + [lines_moved] * (name in TEXT)
    kinds += {
        "a.h5": [hdf5_changed] * 5,
        "a.parquet": [parquet_changed] * 5,
        "a.db": [rows_changed],
    }.get(name, [])
    if name == "a.extxyz":
        kinds += [geometry_changed] * 3
    damage = chance.choice(kinds)
    folder = target / f"{seed:06d}-{damage.__name__}"
    folder.mkdir(parents=True)
    path = folder / name
    shutil.copyfile(clean / name, path)
    damage(path, chance)
    return path


def cut_off(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(len(content))])


def bits_flipped(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(chance.choice((1, 3, 30, 300))):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def emptied(path: Path, chance: random.Random) -> None:
    path.write_bytes(chance.choice((b"", b"\n", b"\n" * 1000, b"\0" * 5000, path.read_bytes()[:8])))


def repeated(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    start = chance.randrange(len(content))
    piece = content[start : start + chance.choice((1, 40, 4000))]
    at = chance.randrange(len(content))
    path.write_bytes(content[:at] + piece * chance.choice((1, 100)) + content[at:])


def words_changed(path: Path, chance: random.Random) -> None:
    words = path.read_text().split(" ")
    for _ in range(chance.choice((1, 1, 3, 20))):
        words[chance.randrange(len(words))] = chance.choice(HOSTILE)
    path.write_text(" ".join(words))


def lines_moved(path: Path, chance: random.Random) -> None:
    lines = path.read_text().splitlines(keepends=True)
    for _ in range(chance.choice((1, 5))):
        line = lines.pop(chance.randrange(len(lines)))
        if chance.random() < 0.5:
            lines.insert(chance.randrange(len(lines) + 1), line)
    path.write_text("".join(lines))


def geometry_changed(path: Path, chance: random.Random) -> None:
    """Cells without volume, atoms on one another or very far, cells of absurd sizes."""
    cell = chance.choice(CELLS)
    place = chance.choice(("0 0 0", "1e9 0 0", "1e300 1e300 0", "0 0 1e-12", "-1e5 7 7"))
    atoms = chance.choice((1, 2, 300))
    pbc = chance.choice(("T T T", "T F T", "F F F"))
    lines = [f"Cu {place if chance.random() < 0.7 else '1 2 3'} 0 0 1" for _ in range(atoms)]
    comment = f'Lattice="{cell}" Properties=species:S:1:pos:R:3:forces:R:3 energy=-1 pbc="{pbc}"'
    path.write_text("\n".join([str(atoms), comment, *lines, ""]) + path.read_text())


def hdf5_changed(path: Path, chance: random.Random) -> None:
    values = (
        np.zeros(0), np.zeros((4, 4)), np.full((4, 3), np.nan), "text", 1e300,
        np.arange(12).reshape(4, 3), np.zeros((2, 2, 2)), np.array(7), np.array([1 + 2j] * 4),
        np.array([b"x", b"y"]), h5py.Empty("f8"),
    )  # fmt: skip
    with h5py.File(path, "a") as file:
        group = file[f"{chance.randrange(6):06d}"]
        name = chance.choice(sorted(group))
        del group[name]
        action = chance.randrange(5)
        if action == 0:
            group.create_dataset(name, shape=(10**12, 3), chunks=(1000, 3), dtype="f8")
        elif action == 1:
            group[name] = h5py.SoftLink(chance.choice(("/nowhere", "/", group.name)))
        elif action == 2:
            group[name] = h5py.ExternalLink("/etc/passwd", "/")
        elif action == 3:
            file["stray"] = 1.0
        else:
            group[name] = chance.choice(values)


def parquet_changed(path: Path, chance: random.Random) -> None:
    table = pq.read_table(path)
    name = chance.choice(table.column_names)
    place = table.column_names.index(name)
    action = chance.randrange(4)
    if action == 0:
        table = table.drop_columns([name])
    elif action == 1:
        column = pa.array([None] * len(table), table.schema.field(name).type)
        table = table.set_column(place, name, column)
    elif action == 2:
        column = pa.array([chance.choice((1.5, float("nan")))] * len(table))
        table = table.set_column(place, name, column)
    else:
        kind = table.schema.field(name).type
        if pa.types.is_list(kind):
            short = chance.choice(([], [None]))
            table = table.set_column(place, name, pa.array([short] * len(table), kind))
        else:
            table = table.slice(0, 0)
    pq.write_table(table, path)


def rows_changed(path: Path, chance: random.Random) -> None:
    columns = (
        "numbers",
        "positions",
        "cell",
        "pbc",
        "energy",
        "forces",
        "stress",
        "data",
        "natoms",
    )
    with sqlite3.connect(path) as database:
        value = chance.choice((None, b"", b"\x80\x04K\x01.", "text", 1e300, b"\0" * 7))
        database.execute(f"update systems set {chance.choice(columns)} = ?", (value,))
    database.close()
