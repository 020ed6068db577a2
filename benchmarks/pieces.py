"""A long benchmark in pieces: what was measured stands in a file, and the same command goes on."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lightpfp_ray.files import write_atomically

UNFINISHED = 75
"""Exit code of a call that stopped in time; call again."""


class Pieces:
    """Measurements by name, each made once, in a folder of its own."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.folder, self.until = options.folder, time.monotonic() + 60 * options.minutes
        self.file, self.longest = self.folder / "pieces.json", 0.0
        if options.fresh:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        asked = {k: v for k, v in vars(options).items() if k not in ("folder", "minutes", "fresh")}
        if not self.file.exists():
            self._save({"asked": asked, "found": {}})
        kept = json.loads(self.file.read_text())
        if kept["asked"] != json.loads(json.dumps(asked, default=str)):
            sys.exit(f"{self.file} holds other measurements: name another --folder, or --fresh")
        self.kept = kept

    def piece(self, name: str, measure: Callable[[Path], Any]) -> Any:
        """What `measure(folder)` gave, now or in an earlier call. Ends the program where the time
        that is left is shorter than the longest piece so far took.
        """
        found = self.kept["found"]
        if name not in found:
            if time.monotonic() + self.longest > self.until:
                print(f"{len(found)} pieces are measured: the same command goes on")
                sys.exit(UNFINISHED)
            began = time.monotonic()
            own = self.folder / name
            shutil.rmtree(own, ignore_errors=True)  # of a call that was cut off
            own.mkdir()
            found[name] = measure(own)
            self._save(self.kept)
            self.longest = max(self.longest, time.monotonic() - began)
        return found[name]

    def _save(self, kept: dict) -> None:
        write_atomically(self.file, (json.dumps(kept, indent=1, default=str) + "\n").encode())


def add_options(parser: argparse.ArgumentParser, name: str) -> None:
    folder = Path(tempfile.gettempdir()) / f"lightpfp-{name}"
    parser.add_argument("--folder", type=Path, default=folder, help=f"default: {folder}")
    parser.add_argument("--minutes", type=float, default=8.5, help="then stop; call again to go on")
    parser.add_argument("--fresh", action="store_true", help="forget what earlier calls measured")
