"""The mistakes of a control file in words: where, what was found, what was expected, what to do.

What was expected is read off the JSON Schema, so that the two never differ.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic_core import ErrorDetails

from .text import Document, Keys, dotted

Schema = Mapping[str, Any]

CONTRADICTION = "contradiction"
"""Type of an error whose message is already whole."""

KINDS = {
    "integer": "a whole number",
    "number": "a finite number",
    "boolean": "true or false",
    "string": "a string",
    "path": "a path",
    "null": "null",
    "object": "a section { ... }",
}
LIMITS = {
    "minimum": "of at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "of at most {}",
    "exclusiveMaximum": "below {}",
}


def sentences(errors: Iterable[ErrorDetails], document: Document, schema: Schema) -> Iterator[str]:
    """One line a mistake, in the order of the file."""
    order = {place: number for number, place in enumerate(document.places.values())}
    for error in sorted(errors, key=lambda error: order[document.place(tuple(error["loc"]))]):
        keys = tuple(error["loc"])
        yield f"{document.place(keys)}: {dotted(keys)}: {_sentence(error, keys, schema)}"


def _sentence(error: ErrorDetails, keys: Keys, schema: Schema) -> str:
    if error["type"] == CONTRADICTION:
        return error["msg"]
    if error["type"] == "extra_forbidden":
        return _unknown_key(keys, schema)
    wanted = _schema_of(keys, schema)
    found = error["input"]
    return f"found {shown(found)}, expected {expected(wanted)}: {_advice(found, wanted)}"


def shown(value: Any) -> str:
    """A value as the file has it, cut where it is long."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def expected(schema: Schema) -> str:
    """What a value must be, in words."""
    if "anyOf" in schema:
        return " or ".join(expected(option) for option in schema["anyOf"])
    choices = [json.dumps(choice) for choice in _choices(schema)]
    if choices:
        return " or ".join(filter(None, [", ".join(choices[:-1]), choices[-1]]))
    if schema.get("type") == "array":
        start = "a list of one or more, each" if schema.get("minItems") else "a list, each"
        return f"{start} {expected(schema['items'])}"
    limits = [words.format(f"{schema[key]:g}") for key, words in LIMITS.items() if key in schema]
    kind = KINDS[schema.get("format") or schema.get("type", "object")]
    return " ".join([kind, " and ".join(limits)]).strip()


def _unknown_key(keys: Keys, schema: Schema) -> str:
    """The nearest key of the same section, or else of another."""
    section, key = keys[:-1], str(keys[-1])
    known = list(_schema_of(section, schema)["properties"])
    elsewhere = {
        name: f"{title}.{name}"
        for title, reference in schema["properties"].items()
        for name in _followed(reference, schema).get("properties", ())
    }
    near = elsewhere.get(key) or closest(key, known) or elsewhere.get(closest(key, elsewhere))
    advice = f"did you mean {near}?" if near else "remove it"
    return f"unknown key, expected one of {', '.join(known)}: {advice}"


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant; case does not count."""
    by_lower = {name.lower(): name for name in known}
    near = get_close_matches(word.lower(), by_lower, n=1)
    return by_lower[near[0]] if near else None


def _advice(found: Any, schema: Schema) -> str:
    options = schema.get("anyOf", [schema])
    choices = [choice for option in options for choice in _choices(option)]
    near = closest(str(found), choices)
    if near:
        return f"did you mean {json.dumps(near)}?"
    if isinstance(found, str) and not choices and _is_json(found):
        return "write it without quotes"
    default = schema.get("default", ...)
    return "correct it" + ("" if default is ... else f", or leave it out for {shown(default)}")


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _choices(schema: Schema) -> list[str]:
    return [schema["const"]] if "const" in schema else list(schema.get("enum", []))


def _schema_of(keys: Keys, schema: Schema) -> Schema:
    """The part of the schema that describes a value."""
    part = schema
    for key in keys:
        part = part["items"] if isinstance(key, int) else part["properties"][key]
        part = _followed(part, schema)
    return part


def _followed(part: Schema, schema: Schema) -> Schema:
    """A section's own schema in place of a reference to it."""
    return schema["$defs"][part["$ref"].rpartition("/")[2]] if "$ref" in part else part
