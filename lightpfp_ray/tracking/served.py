"""The potential as MLflow runs it: this file is copied into the model and run where it is loaded.

Input: one row a structure, `numbers` (N), `positions` (N, 3) in A, and if it is periodic `cell`
(3, 3) in A and `pbc` (3). Output: `energy` in eV, `forces` (N, 3) in eV/A, `stress` (6) in eV/A^3,
Voigt order xx yy zz yz xz xy, positive under tension; none without three periodic directions.
"""

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from lightpfp_ray.data.collate import batch_from_structures
from lightpfp_ray.data.structure import Structure
from lightpfp_ray.potential import load


class ServedPotential(PythonModel):
    def load_context(self, context):
        self.model = load(context.artifacts["potential"]).model

    def predict(self, context, model_input: pd.DataFrame, params=None) -> pd.DataFrame:
        return pd.DataFrame([self._row(row) for row in model_input.to_dict("records")])

    def _row(self, row):
        structure = structure_of(row)
        found = self.model(batch_from_structures([structure], self.model.cutoff))
        periodic = structure.pbc.all()
        return {
            "energy": float(found.energy_S[0]),
            "forces": found.forces_A3.double().tolist(),
            "stress": found.stress_S6[0].double().tolist() if periodic else None,
        }


def structure_of(row) -> Structure:
    """A structure from a row, whose cell may be absent."""
    cell, pbc = (None if _absent(row.get(name)) else row[name] for name in ("cell", "pbc"))
    return Structure(
        numbers=np.array(row["numbers"], dtype=int),
        positions=np.array([list(r) for r in row["positions"]], dtype=float).reshape(-1, 3),
        cell=np.zeros((3, 3)) if cell is None else np.array([list(v) for v in cell], dtype=float),
        pbc=np.full(3, cell is not None) if pbc is None else np.array(list(pbc), dtype=bool),
    )


def _absent(value) -> bool:
    return value is None or isinstance(value, float)  # pandas fills a gap with NaN


set_model(ServedPotential())
