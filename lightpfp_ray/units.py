"""Units are eV and Angstrom everywhere inside; this file holds what people read, and the sign of a
stress.

A stress is (1 / volume) dE / d(strain), positive under tension, Voigt order xx yy zz yz xz xy
(ASE's).
"""

import numpy as np

GPA_PER_EV_A3 = 160.21766208
"""1 eV/A^3 in GPa (CODATA 2014, as in ase.units)."""

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
"""Row and column of the 3x3 tensor for each of the six Voigt components."""

_ROWS, _COLUMNS = np.array(VOIGT).T


def voigt_from_matrix(tensor_33):
    """Six Voigt components (..., 6) of a tensor (..., 3, 3), symmetrised."""
    tensor_33 = np.asarray(tensor_33)
    return 0.5 * (tensor_33[..., _ROWS, _COLUMNS] + tensor_33[..., _COLUMNS, _ROWS])


def matrix_from_voigt(stress_6):
    """Symmetric tensor (..., 3, 3) of Voigt components (..., 6)."""
    stress_6 = np.asarray(stress_6)
    return stress_6[..., [0, 5, 4, 5, 1, 3, 4, 3, 2]].reshape(*stress_6.shape[:-1], 3, 3)
