"""A control file as text: JSON with // comments, the line of every key, and overrides.

The standard library reads the JSON; a walk over the tokens of the text, known by then to be valid,
finds where each key stands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError

Keys = tuple[str | int, ...]
"""Where a value stands: ("multistage_config", "lr_list", 0)."""

STRING = r'"(?:[^"\\\n]|\\.)*"'
COMMENT = re.compile(rf"({STRING})|//[^\n]*")
TOKEN = re.compile(rf'(?P<key>{STRING})\s*:|{STRING}|[{{}}\[\],]|[^\s{{}}\[\],:"]+')


@dataclass(frozen=True)
class Document:
    """What a control file holds, where each key stands, and the mistakes seen so far."""

    values: dict[str, Any]
    places: dict[Keys, str]  # "FILE:LINE", or "--set KEY=VALUE"
    mistakes: tuple[str, ...] = ()

    def place(self, keys: Keys) -> str:
        """Where a value stands; of one that is not there, where what should hold it stands."""
        while keys and keys not in self.places:
            keys = keys[:-1]
        return self.places[keys]


def read_text(path: Path) -> str:
    """The text of a control file. Raises UserError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not UTF-8 text, expected a JSON file") from None
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}), expected a control file: give the path "
            "of one; {} is a valid control file"
        ) from None


def parse(text: str, name: str, overrides: Sequence[str] = ()) -> Document:
    """The document in a text whose file is called `name`, with KEY=VALUE overrides applied.

    Raises UserError where it is not one JSON object; mistakes that leave it readable are listed in
    it.
    """
    plain = COMMENT.sub(lambda found: found[1] or " " * len(found[0]), text)
    values = _values(plain, name)
    places: dict[Keys, str] = {(): f"{name}:1"}
    mistakes = []
    for keys, line in _lines(plain):
        if keys in places:
            mistakes.append(
                f"{name}:{line}: {dotted(keys)}: found twice, first in "
                f"{places[keys]}, expected once: remove one"
            )
        places[keys] = f"{name}:{line}"
    for override in overrides:
        mistakes += _override(override, values, places)
    return Document(values, places, tuple(mistakes))


def dotted(keys: Keys) -> str:
    """As a user writes it: multistage_config.lr_list[0]."""
    return "".join(
        f"[{key}]" if isinstance(key, int) else f".{json.dumps(key, ensure_ascii=False)[1:-1]}"
        for key in keys
    )[1:]


def _values(plain: str, name: str) -> dict[str, Any]:
    try:
        values = json.loads(plain)
    except json.JSONDecodeError as error:
        found = plain[error.pos : error.pos + 12].split("\n")[0].rstrip() or "the end of the line"
        raise UserError(
            f"{name}:{error.lineno}: column {error.colno}: {_readable(error, plain)}, found "
            f"{found}: correct the JSON there"
        ) from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{name}:1: is no readable JSON ({error}): correct it") from None
    if not isinstance(values, dict):
        raise UserError(
            f"{name}:1: found {json.dumps(values)[:40]}, expected an object of sections: write "
            "{} for the defaults"
        )
    return values


def _readable(error: json.JSONDecodeError, plain: str) -> str:
    """The parser's words, and of its most common riddle a clearer one."""
    before = plain[: error.pos].rstrip()
    if before.endswith(",") and plain[error.pos : error.pos + 1] in "}]":
        return "comma after the last entry"
    return error.msg[0].lower() + error.msg[1:]


def _lines(plain: str) -> Iterator[tuple[Keys, int]]:
    """Every key and list entry of valid JSON, in order, and its line."""
    keys: list[str | int] = []  # of each open object the key last seen, of each open list the index
    line, seen = 1, 0
    for token in TOKEN.finditer(plain):
        line, seen = line + plain.count("\n", seen, token.start()), token.start()
        if token["key"]:
            keys[-1] = json.loads(token["key"])
            yield tuple(keys), line
        elif token[0] == ",":
            keys[-1] = keys[-1] + 1 if isinstance(keys[-1], int) else keys[-1]
        elif token[0] in "]}":
            keys.pop()
        else:
            if keys and isinstance(keys[-1], int):
                yield tuple(keys), line
            if token[0] in "[{":
                keys.append(0 if token[0] == "[" else "")


def _override(override: str, values: dict[str, Any], places: dict[Keys, str]) -> Iterator[str]:
    """Set one value; what it replaces is forgotten. Yields what is wrong with it."""
    name, equals, text = override.partition("=")
    keys = tuple(name.strip().split("."))
    if not equals or not all(keys):
        yield (
            f"--set {override}: expected SECTION.KEY=VALUE, as mtp_config.rc=6.0: write it like "
            "that"
        )
        return
    for depth, key in enumerate(keys[:-1], start=1):
        if not isinstance(values.get(key), dict):
            values[key] = {}
            places[keys[:depth]] = f"--set {override}"
        values = values[key]
    values[keys[-1]] = _value(text.strip())
    for old in [old for old in places if old[: len(keys)] == keys]:
        del places[old]
    places[keys] = f"--set {override}"


def _value(text: str) -> Any:
    """JSON, or else a string."""
    try:
        return json.loads(text)
    except ValueError:
        return text
