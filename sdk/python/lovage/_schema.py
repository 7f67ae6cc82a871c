"""From annotations to JSON schema, and from JSON values to what the annotations promise."""

import collections.abc
import dataclasses
import datetime
import decimal
import enum
import inspect
import types
import typing
import uuid

_PLAIN = {int: "integer", str: "string", bool: "boolean", type(None): "null"}
#: Values that travel as kombu's typed maps.
_TYPED = {
    datetime.datetime: "datetime",
    datetime.date: "date",
    datetime.time: "time",
    decimal.Decimal: "decimal",
    uuid.UUID: "uuid",
    bytes: "bytes",
}
_UNIONS = (typing.Union, getattr(types, "UnionType", typing.Union))
_LISTS = (list, collections.abc.Sequence, collections.abc.Iterable)
_MAPS = (dict, collections.abc.Mapping)


def hints_of(function):
    """The annotations of a function; none where they cannot be resolved."""
    try:
        return typing.get_type_hints(function)
    except Exception:
        return {}


def schema(hint):
    """The JSON schema of an annotation; `{}` allows everything."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    if hint is float:
        return {"type": "number"}
    if hint in _TYPED:
        return {
            "type": "object",
            "properties": {"__type__": {"const": _TYPED[hint]}, "__value__": {}},
            "required": ["__type__", "__value__"],
        } if hint is not bytes else {"type": "object", "required": ["__type__", "__value__"]}
    if origin is typing.Annotated:
        return schema(inner[0])
    if origin in _UNIONS:
        return {"anyOf": [schema(one) for one in inner]}
    if origin is typing.Literal:
        return {"enum": list(inner)}
    if hint in _LISTS or origin in _LISTS:
        return {"type": "array", "items": schema(inner[0])} if inner else {"type": "array"}
    if hint is tuple or origin is tuple:
        return _tuple(inner)
    if hint in _MAPS or origin in _MAPS:
        of = {"additionalProperties": schema(inner[1])} if len(inner) == 2 else {}
        return {"type": "object", **of}
    if isinstance(hint, type):
        return _class(hint)
    return {}


def _tuple(inner):
    if len(inner) == 2 and inner[1] is Ellipsis:
        return {"type": "array", "items": schema(inner[0])}
    if not inner:
        return {"type": "array"}
    places = [schema(one) for one in inner]
    return {"type": "array", "prefixItems": places, "minItems": len(places), "maxItems": len(places)}


def _class(hint):
    if issubclass(hint, enum.Enum):
        return {"enum": [member.value for member in hint]}
    if dataclasses.is_dataclass(hint):
        hints = hints_of(hint)
        fields = [field for field in dataclasses.fields(hint) if field.init]
        needed = [field.name for field in fields if _has_no_default(field)]
        return _object({f.name: schema(hints.get(f.name, object)) for f in fields}, needed)
    if issubclass(hint, dict) and hasattr(hint, "__required_keys__"):
        hints = hints_of(hint)
        return _object({name: schema(of) for name, of in hints.items()}, hint.__required_keys__)
    own = getattr(hint, "model_json_schema", None)
    return own() if callable(own) else {}


def _has_no_default(field):
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


def _object(properties, required):
    return {"type": "object", "properties": properties, "required": sorted(required)}


def of_arguments(function, skip=0):
    """The schema of a function's arguments, taken as one object by name."""
    hints = hints_of(function)
    properties, required, more = {}, [], False
    for parameter in list(inspect.signature(function).parameters.values())[skip:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            more = True
            continue
        properties[parameter.name] = schema(hints.get(parameter.name, object))
        if parameter.default is parameter.empty:
            required.append(parameter.name)
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": more,
    }


def of_result(function):
    """The schema of what a function returns, None where it does not say."""
    hints = hints_of(function)
    return schema(hints["return"]) if "return" in hints else None


class Mismatch(TypeError):
    """A value is not what an annotation promises."""


Mismatch.__qualname__ = Mismatch.__name__ = "TypeError"
Mismatch.__module__ = "builtins"


def convert(value, hint, name):
    """The value as the annotation promises it, or a `TypeError`."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return convert(value, inner[0], name)
    if origin in _UNIONS:
        return _one_of(value, inner, name, hint)
    if origin is typing.Literal:
        return value if value in inner else _wrong(value, hint, name)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, bool):
        return _wrong(value, hint, name)
    if hint is datetime.date and isinstance(value, datetime.datetime):
        return _wrong(value, hint, name)
    if hint in _PLAIN or hint is float or hint in _TYPED:
        return value if isinstance(value, hint) else _wrong(value, hint, name)
    if hint in _LISTS or origin in _LISTS or hint is tuple or origin is tuple:
        return _list(value, hint, origin, inner, name)
    if hint in _MAPS or origin in _MAPS:
        if not isinstance(value, dict):
            return _wrong(value, hint, name)
        of = inner[1] if len(inner) == 2 else typing.Any
        return {key: convert(one, of, f"{name}[{key!r}]") for key, one in value.items()}
    if isinstance(hint, type):
        return _instance(value, hint, name)
    return value


def _list(value, hint, origin, inner, name):
    if not isinstance(value, list):
        return _wrong(value, hint, name)
    fixed = origin is tuple and inner and inner[-1] is not Ellipsis
    if fixed and len(inner) != len(value):
        return _wrong(value, hint, name)
    hints = inner if fixed else [inner[0] if inner else typing.Any] * len(value)
    items = [convert(one, of, f"{name}[{i}]") for i, (one, of) in enumerate(zip(value, hints))]
    return tuple(items) if hint is tuple or origin is tuple else items


def _one_of(value, hints, name, hint):
    for one in hints:
        try:
            return convert(value, one, name)
        except Mismatch:
            continue
    return _wrong(value, hint, name)


def _instance(value, hint, name):
    if isinstance(value, hint):
        return value
    if issubclass(hint, enum.Enum):
        try:
            return hint(value)
        except ValueError:
            return _wrong(value, hint, name)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, dict):
            return _wrong(value, hint, name)
        hints = hints_of(hint)
        known = {field.name for field in dataclasses.fields(hint) if field.init}
        for key in value:
            if key not in known:
                raise Mismatch(f"{name} has no field {key!r}")
        try:
            return hint(**{k: convert(v, hints.get(k), f"{name}.{k}") for k, v in value.items()})
        except Mismatch:
            raise
        except TypeError as error:
            raise Mismatch(f"{name}: {error}") from None
    own = getattr(hint, "model_validate", None)
    return own(value) if callable(own) else value


def _wrong(value, hint, name):
    wanted = getattr(hint, "__name__", None) if typing.get_origin(hint) is None else None
    wanted = wanted or str(hint).replace("typing.", "")
    raise Mismatch(f"{name} must be {wanted}, not {type(value).__name__}")
