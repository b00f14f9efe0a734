"""What every part of a protocol file has in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Model = TypeVar("Model", bound=BaseModel)

Number = Annotated[float, Field(allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Distance = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(min_length=1)]


class Section(BaseModel):
    """A part of a protocol file: unknown keys and wrong types are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


def sections_in(section: BaseModel, kind: type[Model]) -> Iterator[Model]:
    """Every section of a kind, at any depth; those inside of one that is found are not looked for."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        for entry in value if isinstance(value, tuple) else (value,):
            if isinstance(entry, kind):
                yield entry
            elif isinstance(entry, BaseModel):
                yield from sections_in(entry, kind)


def replaced(section: Any, kind: type[Model], change: Callable[[Model], Model]) -> Any:
    """Return a section in which every section of a kind is changed, at any depth."""
    if isinstance(section, kind):
        return change(section)
    if isinstance(section, tuple):
        return tuple(replaced(entry, kind, change) for entry in section)
    if not isinstance(section, BaseModel):
        return section
    update = {}
    for name in section.model_fields_set:
        was = getattr(section, name)
        now = replaced(was, kind, change)
        if now != was:
            update[name] = now
    return section.model_copy(update=update) if update else section
