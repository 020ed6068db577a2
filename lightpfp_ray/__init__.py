"""Training of moment tensor potentials on Ray, from the control file of LightPFP.

Where to read: the equations stand in `mtp` (`radial.py`: f_mu; `moments.py`: M and B; `model.py`:
the energy), the training in `training`, Ray in `cluster`. `load(path).calculator()` gives a
finished potential to ASE.
"""

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .potential import Potential, load

__all__ = ["Potential", "load"]


def __getattr__(name: str) -> Any:
    """`load` and `Potential` bring torch along: only when they are asked for."""
    if name in __all__:
        from . import potential

        return getattr(potential, name)
    if name == "__version__":
        return version("lightpfp_ray")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
