"""Parts of a config: frozen dataclasses, read from tables of plain values and written as such.

Every field is annotated: Annotated[type, help] or, with the value that `--quick` takes instead of
the default, Annotated[type, help, quick]. A part that a registry {name: dataclass} chooses is
written as {"name": name, field: value, ...}.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

from qcuda.errors import InputError, require

Registry = Mapping[str, type[Any]]


class Leaf(NamedTuple):
    """One value of a part: where it stands, its type, what it means, its default; if it is a word,
    those that it can be."""

    key: str
    kind: Any
    text: str
    default: Any
    choices: tuple[str, ...] = ()


def leaves(part: type[Any], prefix: str) -> Iterator[Leaf]:
    """Every value of a part and of the parts inside it."""
    hints = get_type_hints(part, include_extras=True)
    for field in dataclasses.fields(part):
        hint, key = hints[field.name], f"{prefix}.{field.name}"
        if dataclasses.is_dataclass(hint):
            yield from leaves(hint, key)  # pyright: ignore[reportArgumentType]
        else:
            kind, text = hint.__origin__, hint.__metadata__[0]
            words = get_args(kind) if get_origin(kind) is Literal else ()
            yield Leaf(key, str if words else kind, text, _default(field), words)


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def table(values: Any, key: str) -> dict[str, Any]:
    """A table of keys, copied. Raises InputError if it is none."""
    good = isinstance(values, Mapping) and all(isinstance(name, str) for name in values)
    require(good, f"{key} is a table of keys, got {values!r}")
    return dict(values)


def known(values: Mapping[str, Any], keys: Any, what: str) -> None:
    """Raise InputError unless a table has none but these keys."""
    for name in values:
        require(name in keys, f"{what} has the keys {', '.join(keys) or 'none'}, got {name!r}")


def read(part: type[Any], values: Any, key: str, *, quick: bool = False) -> Any:
    """A part from its table; what is missing has its default, or that of `--quick`.

    Raises InputError, naming the key, if a value breaks its rule.
    """
    given = table(values, key)
    hints = get_type_hints(part, include_extras=True)
    names = [field.name for field in dataclasses.fields(part)]
    known(given, names, key)
    made: dict[str, Any] = {}
    for name in names:
        hint, where = hints[name], f"{key}.{name}"
        if dataclasses.is_dataclass(hint):
            made[name] = read(hint, given.get(name, {}), where, quick=quick)  # pyright: ignore
        elif name in given:
            made[name] = typed(where, hint.__origin__, given[name])
        elif quick and len(hint.__metadata__) > 1:
            made[name] = hint.__metadata__[1]
    try:
        return part(**made)
    except ValueError as error:
        raise InputError(f"{key}: {error}") from None


def choose(
    registry: Registry, values: Any, key: str, *, default: str = "", quick: bool = False
) -> Any:
    """The part that `name` chooses; the first of the registry if there is neither that nor a
    default."""
    given = table(values, key)
    name = given.pop("name", default or next(iter(registry)))
    require(
        isinstance(name, str) and name in registry,
        f"{key}.name is one of {', '.join(registry)}, got {name!r}",
    )
    names = [field.name for field in dataclasses.fields(registry[name])]
    known(given, names, f"{key} {name}")
    return read(registry[name], given, key, quick=quick)


def typed(key: str, kind: Any, value: Any) -> Any:
    """The value as its field's type; InputError if it is another."""
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        require(isinstance(value, list | tuple), f"{key} is a list, got {value!r}")
        if inner[-1] is Ellipsis:
            inner = inner[:1] * len(value)
        require(len(inner) == len(value), f"{key} has {len(inner)} values, got {list(value)}")
        return tuple(typed(key, one, item) for one, item in zip(inner, value, strict=True))
    if get_origin(kind) is dict:
        return {name: typed(f"{key}.{name}", get_args(kind)[1], item)
                for name, item in table(value, key).items()}  # fmt: skip
    if get_origin(kind) is Literal:
        kind = str  # the part itself knows which
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    require(type(value) is kind, f"{key} is of type {kind.__name__}, got {value!r}")
    return value


def written(part: Any, registry: Registry | None = None) -> dict[str, Any]:
    """A part as the table that `read`, or with its registry `choose`, reads."""
    values = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(part).items()
    }
    if registry is None:
        return values
    (name,) = (name for name, kind in registry.items() if kind is type(part))
    return {"name": name, **values}


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Two trees of tables as one; where both have a value, that of the one above."""
    made = dict(below)
    for key, value in above.items():
        both = isinstance(value, Mapping) and isinstance(made.get(key), Mapping)
        made[key] = merged(made[key], value) if both else value
    return made


def difference(kept: Any, given: Any, key: str = "") -> str | None:
    """The first key in which two trees differ, with both values; None if they agree."""
    if not (isinstance(kept, Mapping) and isinstance(given, Mapping)):
        return None if kept == given else f"{key} is {kept}, got {given}"
    for name in [*kept, *(name for name in given if name not in kept)]:
        where = f"{key}.{name}" if key else name
        found = difference(kept.get(name), given.get(name), where)
        if found is not None:
            return found
    return None
