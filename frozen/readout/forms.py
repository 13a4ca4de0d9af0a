"""Pydantic models made from frozen dataclasses, so that no setting is described twice."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Tag,
    ValidationError,
    WithJsonSchema,
    create_model,
)
from pydantic import Field as ModelField
from pydantic.functional_validators import model_validator
from pydantic_core import PydanticCustomError

from frozen.problems import show
from frozen.ranges import Choices, Range
from frozen.registry import Registry

COMPLAINT = "complaint"
"""Type of errors whose message is shown as it is."""
WRONG_FORM = "wrong_form"
"""Type of errors whose message lists the forms a setting can have."""
WRONG_NAME = "wrong_name"
"""Type of errors whose message is a key and the names it can have."""

TypeForm = Any
"""A type or a special form of `typing`, made at run time."""

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([KMGT]i?)?B", re.IGNORECASE)
_FACTORS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_FACTORS |= {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


class Border(BaseModel):
    """A mapping of a study file: nothing unknown, nothing converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _remember_keys(cls, value: object, info: Any) -> object:
        """For messages about unknown keys: which mapping was held against which model."""
        if isinstance(info.context, dict):
            info.context[id(value)] = tuple(cls.model_fields)
        return value

    def given(self) -> dict[str, Any]:
        """Fields that the study file names, in the order of the model."""
        return {name: getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set}


class Grid(Border):
    """Several values of one setting."""

    @property
    def values(self) -> tuple[Any, ...]:
        """The values."""
        return getattr(self, "grid")  # noqa: B009


def complaint(message: str) -> PydanticCustomError:
    """An error whose message is shown as it is."""
    return PydanticCustomError(COMPLAINT, "{message}", {"message": message})


def _refuse_duplicates(values: tuple[Any, ...]) -> tuple[Any, ...]:
    for position, value in enumerate(values):
        if any(type(other) is type(value) and other == value for other in values[:position]):
            raise complaint(f"duplicate entry {show(value)}")
    return values


Distinct = AfterValidator(_refuse_duplicates)
"""A list without duplicates."""


def list_of(item: TypeForm) -> TypeForm:
    """A list that has entries, all different."""
    return Annotated[tuple[item, ...], ModelField(min_length=1), Distinct]


def model_of(
    cls: type,
    name: str,
    *,
    wrap: Callable[[str, TypeForm, TypeForm], TypeForm] = lambda _, plain, __: plain,
    extra: Mapping[str, tuple[TypeForm, Any]] | None = None,
    types_of: Mapping[str, TypeForm] | None = None,
    is_partial: bool = False,
) -> type[Border]:
    """Model with the fields, defaults and docstrings of a dataclass.

    Args:
        cls: the dataclass; fields that are dataclasses become models too.
        name: of the model.
        wrap: given a field's name, its type, and its type if nested fields are wrapped as well: the model's type.
        extra: fields that come before those of the dataclass, or replace one of them.
        types_of: types that replace those of the dataclass.
        is_partial: whether every field may be left out.
    """
    hints, texts = get_type_hints(cls), _field_docstrings(cls)
    made: dict[str, Any] = dict(extra or {})
    for item in [item for item in fields(cls) if item.name not in made]:
        hint = (types_of or {}).get(item.name, hints[item.name])
        plain = nested = hint
        if is_dataclass(hint) and isinstance(hint, type):
            label = f"{name}{hint.__name__}"
            nested = model_of(hint, label, wrap=wrap, is_partial=True)
            plain = nested if nested is hint else model_of(hint, f"{label}Value", is_partial=True)
        made[item.name] = (wrap(item.name, plain, nested), _field(item, texts.get(item.name), is_partial))
    summary = (inspect.getdoc(cls) or "").split("\n\n")[0]
    return create_model(name, __base__=Border, __doc__=summary, **made)


def _field(item: Field[Any], text: str | None, is_partial: bool) -> Any:
    if item.default is not MISSING:
        return ModelField(default=item.default, description=text)
    if is_partial or item.default_factory is not MISSING:
        return ModelField(default=None, description=text, json_schema_extra=without_default)
    return ModelField(description=text)


def without_default(schema: dict[str, Any]) -> None:
    """For fields whose default depends on others."""
    schema.pop("default", None)


def _field_docstrings(cls: type) -> dict[str, str]:
    """Strings that follow the fields in the source of a class and of its bases."""
    bases = [_own_docstrings(base) for base in reversed(cls.__mro__) if is_dataclass(base)]
    return {name: text for texts in bases for name, text in texts.items()}


@cache
def _own_docstrings(cls: type) -> dict[str, str]:
    texts: dict[str, str] = {}
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(body, ast.ClassDef)
    for statement, following in zip(body.body, body.body[1:], strict=False):
        if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
            name, value = statement.target, following.value
            if isinstance(name, ast.Name) and isinstance(value, ast.Constant) and isinstance(value.value, str):
                texts[name.id] = inspect.cleandoc(value.value)
    return texts


def gridded(name: str, plain: TypeForm, nested: TypeForm) -> TypeForm:
    """A value, or `{grid: [..]}` of several."""
    grid = _grid(plain, _label(plain, name))
    union = Union[Annotated[nested, Tag("<value>")], Annotated[grid, Tag("<grid>")]]  # noqa: UP007
    return Annotated[union, Discriminator(_grid_tag)]


@cache
def _grid(plain: TypeForm, label: str) -> type[Grid]:
    return create_model(f"Grid{label}", __base__=Grid, grid=(list_of(plain), ModelField(description="The values.")))


def _grid_tag(value: object) -> str:
    is_grid = isinstance(value, Grid) or (isinstance(value, dict) and _is_meant(value, "grid"))
    return "<grid>" if is_grid else "<value>"


def _is_meant(mapping: dict[Any, Any], key: str) -> bool:
    """Whether a mapping has the key, or nothing but a misspelling of it, which is told as that."""
    return key in mapping or (len(mapping) == 1 and bool(get_close_matches(str(next(iter(mapping))), [key])))


def setting(name: str, plain: TypeForm, nested: TypeForm) -> TypeForm:
    """A value, `{choices: [..]}`, or for numbers `{low: .., high: .., log: ..}`."""
    del nested
    label = _label(plain, name)
    numbers = [kind for kind in (int, float) if kind in members(plain)]
    kinds = [Annotated[plain, Tag("<value>")], Annotated[_choices(plain, label), Tag("<choices>")]]
    kinds += [Annotated[_range(kind), Tag("<range>")] for kind in numbers]
    forms = "a value, {choices: [..]} or {low: .., high: ..}" if numbers else "a value or {choices: [..]}"
    return Annotated[
        Union[tuple(kinds)],  # noqa: UP007
        Discriminator(_setting_tag, custom_error_type=WRONG_FORM, custom_error_message=forms),
    ]


@cache
def _choices(plain: TypeForm, label: str) -> type[Border]:
    return model_of(Choices, f"Choices{label}", types_of={"choices": list_of(plain)})


@cache
def _range(number: type) -> type[Border]:
    return model_of(Range, f"Range{number.__name__.title()}", types_of={"low": number, "high": number})


def _setting_tag(value: object) -> str:
    if isinstance(value, tuple):
        return "<list>"
    if isinstance(value, dict):
        return "<choices>" if _is_meant(value, "choices") else "<range>"
    return "<value>"


def named(
    key: str, models: Mapping[str, type[Border]], aliases: Mapping[str, str], faults: Mapping[str, str]
) -> TypeForm:
    """A mapping whose `key` says which of the models it follows.

    Args:
        key: such as family.
        models: by name.
        aliases: other names of some of them.
        faults: names that cannot be used, and why.
    """

    def tag(value: object) -> str | None:
        name = value.get(key) if isinstance(value, dict) else getattr(value, key, None)
        return f"<{aliases.get(name, name)}>" if isinstance(name, str) else None

    forms = {**models, **{name: _refusing(reason) for name, reason in faults.items()}}
    kinds = tuple(Annotated[form, Tag(f"<{name}>")] for name, form in forms.items())
    choice = " ".join((key, *models, *aliases))
    return Annotated[
        Union[kinds],  # noqa: UP007
        Discriminator(tag, custom_error_type=WRONG_NAME, custom_error_message=choice),
    ]


def _refusing(reason: str) -> TypeForm:
    """What no value is accepted as."""

    def refuse(_value: object) -> object:
        raise complaint(reason)

    return Annotated[Any, BeforeValidator(refuse), WithJsonSchema({"not": {}})]


def named_in(
    registry: Registry[Any], key: str, model: Callable[[str, Any], type[Border]], aliases: Mapping[str, str]
) -> TypeForm:
    """What a registry has, by name; a part of another package that has no model is refused where it is named."""
    faults = registry.faults()
    models = {name: model(name, cls) for name, cls in registry.own.items() if name not in faults}
    for name in [name for name in registry if name not in registry.own]:
        try:
            models[name] = model(name, registry[name])
            models[name].model_rebuild(force=True)
        except Exception as error:  # noqa: BLE001, another package may have fields of any kind
            reason = str(error).partition("\n")[0]
            faults[name] = f"{key} {name!r} has a field that a study file cannot set: {reason}; see docs/extending.md"
    return named(key, models, aliases, faults)


def size_in_bytes(value: object, inner: Callable[[object], Any]) -> int:
    """Bytes of a number, or of a text such as 4GB; wraps the validation of `int | str`."""
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match:
        return int(float(match[1]) * _FACTORS[(match[2] or "").lower()])
    try:
        return inner(value) if isinstance(value, int) else inner(None)
    except ValidationError:
        raise complaint(f"expected bytes or a size such as 4GB or 500MB, got {show(value)}") from None


def literal(names: Iterable[str]) -> TypeForm:
    """One of some names."""
    return Literal[tuple(names)]


def members(hint: TypeForm) -> tuple[TypeForm, ...]:
    """The types a union allows; the type itself if it is no union."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _label(hint: TypeForm, name: str) -> str:
    """A readable name for models of values of this type: that of the type, else that of the field."""
    if any(get_origin(kind) for kind in members(hint)):
        return "".join(part.title() for part in name.split("_"))
    kinds = ["Null" if kind is type(None) else kind.__name__ for kind in members(hint)]
    return "Or".join(kind[0].upper() + kind[1:] for kind in kinds)
