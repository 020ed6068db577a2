"""What an option and a section of the control file are: strict types, what stands about an option
in the JSON Schema, and all mistakes of a section at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from .mistakes import CONTRADICTION

STRICT = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def _whole(value: Any) -> Any:
    """80.0 is a whole number, as in JSON Schema; true and "80" are not."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


AtLeast0 = Annotated[int, Field(ge=0), BeforeValidator(_whole)]
AtLeast1 = Annotated[int, Field(ge=1), BeforeValidator(_whole)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1), BeforeValidator(_whole)]

DECIDES = "decides_the_result"
"""False in the schema of an option that a run can change when it goes on."""


def option(
    default: Any, meaning: str, unit: str | None = None, decides: bool = True, **limits: Any
) -> Any:
    """A field, its default and what stands about it in the JSON Schema."""
    extra = {"unit": unit} if unit else {}
    extra |= {} if decides else {DECIDES: False}
    return Field(default, description=meaning, json_schema_extra=extra or None, **limits)


def list_option(default: tuple, meaning: str, unit: str | None = None, least: int = 1) -> Any:
    """A list; its entries are as strict as every other value."""
    return option(default, meaning, unit, strict=False, min_length=least)


class Section(BaseModel):
    """Values that stand together. Its own mistakes and those between its values are found at once.

    A contradiction is the key where it shows, and a sentence; `values` are defaults and what was
    given, right or wrong, `wrong` the keys whose values are mistakes already.
    """

    model_config = STRICT

    @classmethod
    def contradictions(
        cls, values: Mapping[str, Any], wrong: set[str]
    ) -> Iterator[tuple[str, str]]:
        yield from ()

    @model_validator(mode="wrap")
    @classmethod
    def _all_mistakes(cls, given: Any, validate: ModelWrapValidatorHandler[Section]) -> Section:
        mistakes: list[InitErrorDetails] = []
        try:
            section = validate(given)
        except ValidationError as error:
            mistakes += [
                InitErrorDetails(
                    type=e["type"], loc=e["loc"], input=e["input"], ctx=e.get("ctx", {})
                )
                for e in error.errors()
            ]
        if isinstance(given, Mapping):
            values = {name: field.default for name, field in cls.model_fields.items()} | given
            wrong = {e["loc"][0] for e in mistakes}
            for key, sentence in cls.contradictions(values, wrong):
                error_type = PydanticCustomError(
                    CONTRADICTION, "{sentence}", {"sentence": sentence}
                )
                mistakes.append(InitErrorDetails(type=error_type, loc=(key,), input=values[key]))
        if mistakes:
            raise ValidationError.from_exception_data(cls.__name__, mistakes)
        return section
