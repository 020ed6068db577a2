"""OUTCAR and vasprun.xml as VASP lays them out, of a few steps, written by hand from its files."""

import numpy as np

SYMBOLS, COUNTS = ("In", "P"), (1, 1)
GPA = 160.21766208


def steps(count, seed=0):
    """cell (A), positions, forces, stress tensor in kB (compression positive), energies."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        cell = 4.0 * np.eye(3) + rng.normal(scale=0.1, size=(3, 3))
        tensor = rng.normal(scale=30.0, size=(3, 3))
        found.append(
            {
                "cell": cell.round(9),
                "positions": (rng.random((2, 3)) @ cell).round(5),
                "forces": rng.normal(size=(2, 3)).round(6),
                "kilobar": (0.5 * (tensor + tensor.T)).round(5),
                "free": round(float(rng.normal(-9)), 8),
                "zero": round(float(rng.normal(-9)), 8),
            }
        )
    return found


def outcar(found):
    """Text of an OUTCAR; the table of potentials stands twice in its head, as VASP prints it."""
    potentials = "".join(f" POTCAR:    PAW_PBE {name}_d 06Sep2000\n" for name in SYMBOLS)
    head = (
        " vasp.6.3.2 27Jun22 (build Jan 01 2023) complex\n"
        f"{potentials}{potentials}"
        f"   ions per type =           {'  '.join(map(str, COUNTS))}\n"
    )
    return head + "".join(_outcar_step(n, step) for n, step in enumerate(found, 1))


def _outcar_step(number, step):
    k = step["kilobar"]
    six = (k[0, 0], k[1, 1], k[2, 2], k[0, 1], k[1, 2], k[2, 0])
    reciprocal = np.linalg.inv(step["cell"]).T
    cell = "".join(
        "   " + "".join(f"{x:13.9f}" for x in (*a, *b)) + "\n"
        for a, b in zip(step["cell"], reciprocal, strict=True)
    )
    table = "".join(
        " " + "".join(f"{x:13.5f}" for x in r) + "   " + "".join(f"{x:14.6f}" for x in f) + "\n"
        for r, f in zip(step["positions"], step["forces"], strict=True)
    )
    rule = " " + "-" * 83 + "\n"
    return (
        f"--------------------------------------- Iteration {number:6d}(   1)  ------\n"
        "  free energy    TOTEN  =       999.00000000 eV\n"
        "  energy without entropy =      999.00000000  energy(sigma->0) =      999.00000000\n"
        "  FORCE on cell =-STRESS in cart. coord.  units (eV):\n"
        "  Direction    XX          YY          ZZ          XY          YZ          ZX\n"
        "  Total   " + "".join(f"{x / 10:12.5f}" for x in six) + "\n"
        "  in kB   " + "".join(f"{x:12.5f}" for x in six) + "\n"
        "  external pressure =       -1.00 kB  Pullay stress =        0.00 kB\n"
        "  volume of cell :       64.00\n"
        "      direct lattice vectors                 reciprocal lattice vectors\n"
        f"{cell}"
        " POSITION                                       TOTAL-FORCE (eV/Angst)\n"
        f"{rule}{table}{rule}"
        "    total drift:                                0.000000      0.000000      0.000000\n"
        "  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)\n"
        "  ---------------------------------------------------\n"
        f"  free  energy   TOTEN  = {step['free']:18.8f} eV\n"
        "\n"
        f"  energy  without entropy={step['free']:18.8f}"
        f"  energy(sigma->0) ={step['zero']:18.8f}\n"
    )


def vasprun(found, pstress=0.0):
    """Text of a vasprun.xml. e_fr_energy of a step is an enthalpy and e_0_energy beside it is
    wrong, as in VASP's own files.
    """
    atoms = "".join(
        f"<rc><c>{name:2s}</c><c>{kind:4d}</c></rc>" for kind, name in enumerate(SYMBOLS, 1)
    )
    head = (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n'
        '<kpoints><varray name="kpointlist"><v> 0.0 0.0 0.0 </v></varray>'
        '<varray name="weights"><v> 1.0 </v></varray></kpoints>\n'
        f'<parameters><separator name="ionic"><i name="PSTRESS">{pstress}</i></separator>'
        "</parameters>\n"
        f"<atominfo>\n  <atoms>       {sum(COUNTS)} </atoms>\n"
        f'<array name="atoms"><set>{atoms}</set></array></atominfo>\n'
    )
    first = f'<structure name="initialpos">{_structure(found[0])}</structure>\n'
    body = "".join(_calculation(step, pstress) for step in found)
    return f"{head}{first}{body}</modeling>\n"


def _calculation(step, pstress):
    enthalpy = step["free"] + pstress * 0.1 / GPA * abs(np.linalg.det(step["cell"]))
    return (
        f"<calculation>\n<scstep><energy><i name='e_fr_energy'>{step['free']:.8f}</i>"
        f"<i name='e_wo_entrp'>{step['free']:.8f}</i><i name='e_0_energy'>{step['zero']:.8f}</i>"
        f"</energy></scstep>\n<structure>{_structure(step)}</structure>\n"
        f"{_varray('forces', step['forces'])}{_varray('stress', step['kilobar'])}"
        f"<energy><i name='e_fr_energy'>{enthalpy:.8f}</i><i name='e_0_energy'>0.0</i></energy>\n"
        "</calculation>\n"
    )


def _structure(step):
    scaled = step["positions"] @ np.linalg.inv(step["cell"])
    return (
        f"<crystal>{_varray('basis', step['cell'])}<i name='volume'>64.0</i></crystal>"
        f"{_varray('positions', scaled)}"
    )


def _varray(name, rows):
    inner = "".join(f"<v> {' '.join(f'{x:.10f}' for x in row)} </v>\n" for row in rows)
    return f'<varray name="{name}">\n{inner}</varray>\n'
