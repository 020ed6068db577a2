"""What is compiled of this room, where it was built; see `native/`."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def native() -> Any | None:
    """The compiled module, or None where it was not built."""
    try:
        from . import _data
    except ImportError:
        return None
    return _data
