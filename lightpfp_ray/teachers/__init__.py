"""Teachers: potentials and semi-empirical methods of others, that label structures for ours."""

from __future__ import annotations

from pathlib import Path

from ..errors import UserError
from .teacher import Failure, Labels, Teacher

__all__ = ["Failure", "Labels", "Teacher", "load_teacher"]

XTB = ("GFN1-xTB", "GFN2-xTB")

NAMES = ("chgnet", *(f"tblite:{method}" for method in XTB), "MODULE:CALLABLE")


def load_teacher(name: str, folder: Path | None = None) -> Teacher:
    """A teacher by its name, ready to label on this processor.

    "chgnet"; "tblite:GFN1-xTB", "tblite:GFN2-xTB"; or "module:callable": the module is imported
    from `folder` (None: the current one) or from what is installed, and its callable, which takes
    no arguments, gives an ASE calculator. All code of that module is run. Raises UserError for
    another name, for a package that is not installed, and for a module that does not give a
    calculator.
    """
    kind, _, method = name.partition(":")
    if name == "chgnet":
        from . import chgnet

        return chgnet.teacher()
    if kind == "tblite" and method in XTB:
        from . import xtb

        return xtb.teacher(method)
    if kind == "tblite" or not (kind and method):
        raise UserError(f"--teacher {name}: expected one of {', '.join(NAMES)}")
    from . import module

    return module.teacher(kind, method, folder or Path.cwd())
