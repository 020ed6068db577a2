"""Does the grade tell what was not trained? A potential is fitted to some groups only, and the
test set is graded.

For each group: the median of the structures' largest grades and of the grades of their means, and
the force error. The correlations are of rank (Spearman), over the test structures of all groups,
between a structure's largest grade and the root mean square error of its forces; and over atoms.
The group Vacancy of mlearn holds molecular dynamics too, of 300 K and of the melt: without both,
none is left; without AIMD-NVT alone the same environments are, and nothing is extrapolated.

    python benchmarks/grade.py ../shared/data/mlearn/Si_train.extxyz \\
        ../shared/data/mlearn/Si_test.extxyz --without AIMD-NVT Vacancy
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from ase.io import read
from quick_fit import fitted
from scipy.stats import spearmanr

from lightpfp_ray.data.ase_files import structure_of
from lightpfp_ray.data.collate import batch_from_structures
from lightpfp_ray.grade import ActiveSet, active_set
from lightpfp_ray.mtp.model import MTP


@dataclass(frozen=True)
class Graded:
    """One structure of the test set."""

    group: str
    grades_A: np.ndarray
    structure_grade: float
    force_errors_A: np.ndarray  # norm of an atom's error, eV/A

    @property
    def force_error(self) -> float:
        return float(np.sqrt((self.force_errors_A**2).mean() / 3))


def main() -> None:
    options = arguments()
    train = [a for a in read(options.train, ":") if group_of(a) not in options.without]
    print(f"without {', '.join(options.without)}: {len(train)} training structures")
    for level in options.levels:
        structures = [structure_of(atoms) for atoms in train]
        model = fitted(structures, level)
        batches = [
            batch_from_structures(structures[n : n + 32], model.cutoff)
            for n in range(0, len(structures), 32)
        ]
        found = active_set(model, batches)
        graded = [graded_of(model, found, atoms) for atoms in read(options.test, ":")]
        print(f"\nlevel {level}, {len(model.basis.scalars)} basis functions")
        print("\n".join(rows(graded, options.without)))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("--without", nargs="+", required=True, metavar="GROUP")
    parser.add_argument("--levels", nargs="+", type=int, default=[8, 12, 16])
    return parser.parse_args()


def group_of(atoms: Atoms) -> str:
    return atoms.info.get("config_type", atoms.info.get("group", ""))


def graded_of(model: MTP, found: ActiveSet, atoms: Atoms) -> Graded:
    batch = batch_from_structures([structure_of(atoms)], model.cutoff)
    error_A3 = (model(batch).forces_A3 - batch.forces_A3).detach().numpy()
    return Graded(
        group_of(atoms),
        found.grades(model, batch),
        float(found.structure_grades(model, batch)[0]),
        np.linalg.norm(error_A3, axis=1),
    )


def rows(graded: Sequence[Graded], without: Sequence[str]) -> list[str]:
    lines = [f"{'group':>12}{'structures':>11}{'grade':>9}{'of mean':>9}{'force RMSE eV/A':>17}"]
    for group in dict.fromkeys(g.group for g in graded):
        mark = "  left out" if group in without else ""
        lines.append(row(group, [g for g in graded if g.group == group]) + mark)
    inside = [g for g in graded if g.group not in without]
    outside = [g for g in graded if g.group in without]
    ratio = median([g.grades_A.max() for g in outside]) / median([g.grades_A.max() for g in inside])
    whole = median([g.structure_grade for g in outside]) / median(
        [g.structure_grade for g in inside]
    )
    of_structures = spearmanr([g.grades_A.max() for g in graded], [g.force_error for g in graded])
    of_atoms = spearmanr(
        np.concatenate([g.grades_A for g in graded]),
        np.concatenate([g.force_errors_A for g in graded]),
    )
    return [
        *lines,
        f"left out over seen, ratio of the medians: {ratio:.2f} (grades of means: {whole:.2f})",
        f"grade and force error: {of_structures.statistic:.2f} over structures, "
        f"{of_atoms.statistic:.2f} over atoms",
    ]


def row(group: str, graded: Sequence[Graded]) -> str:
    error = np.sqrt(np.mean([g.force_error**2 for g in graded]))
    return (
        f"{group:>12}{len(graded):11d}{median([g.grades_A.max() for g in graded]):9.2f}"
        f"{median([g.structure_grade for g in graded]):9.2f}{error:17.3f}"
    )


def median(values: Sequence[float]) -> float:
    return float(np.median(values))


if __name__ == "__main__":
    main()
