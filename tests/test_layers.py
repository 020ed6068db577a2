"""The referee of the rooms: what may import what, and that the code is in style."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "lightpfp_ray"
FORBIDDEN = {
    "mtp": {"data", "training", "config", "ase", "pyarrow", "pydantic", "ray", "mlflow"},
    "training": {"data", "ase", "pyarrow", "ray", "mlflow"},
    "data": {"training", "cluster", "ray", "mlflow"},
    "doctor": {"cluster", "config", "ray", "mlflow"},
    "teachers": {"training", "cluster", "config", "ray", "mlflow"},
    "config": {"mtp", "data", "training", "cluster", "torch", "ase", "pyarrow", "ray", "mlflow"},
}


def imported(file):
    """Names of the outside packages, and of the rooms of this one, that a file imports anywhere."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module.split(".")[0]
        elif isinstance(node, ast.ImportFrom):
            base = file.relative_to(PACKAGE).parts[:-1]
            parts = base[: len(base) - node.level + 1] + tuple((node.module or "").split("."))
            yield from (parts[:1] if parts[0] else (alias.name for alias in node.names))


@pytest.mark.parametrize("room", FORBIDDEN)
def test_a_room_imports_only_what_it_may(room):
    found = {(f.name, name) for f in (PACKAGE / room).rglob("*.py") for name in imported(f)}
    assert {(file, name) for file, name in found if name in FORBIDDEN[room]} == set()


def test_only_the_record_knows_mlflow():
    found = {f for f in PACKAGE.rglob("*.py") if "mlflow" in imported(f)}
    assert {f.parent.name for f in found} == {"tracking"}


def test_the_record_loads_mlflow_by_its_use():
    code = "import sys, lightpfp_ray.tracking; sys.exit('mlflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_using_a_potential_loads_neither_ray_nor_mlflow():
    loaded = "any(m in sys.modules for m in ('ray', 'mlflow'))"
    code = f"import sys, lightpfp_ray.calculator; sys.exit({loaded})"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_code_is_in_style():
    subprocess.run([sys.executable, "-m", "ruff", "check", str(ROOT)], check=True)
    subprocess.run([sys.executable, "-m", "ruff", "format", "--check", str(ROOT)], check=True)
