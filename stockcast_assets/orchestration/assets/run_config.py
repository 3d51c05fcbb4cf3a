"""What a run may say to an asset: declared fields, checked before any work begins.

Dagster's own `Config` lets every text and number be `{env: NAME}`, so whoever may launch a run may have any variable of
the process's environment written into metadata or an error. These fields take values only.
"""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from types import NoneType, UnionType
from typing import Any, Literal, Self, TypeVar, Union, get_args, get_origin

import dagster as dg
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from stockcast_assets.errors import StockcastError

Result = TypeVar("Result")

NOTHING: Mapping[str, dg.Field] = {}
"""Schema of an asset that takes no configuration: a run that has some for it is refused."""

_LONGEST_SHOWN = 80


class RunInput(BaseModel):
    """Base of an asset's run configuration: int, float, bool, str, Literal or dict, each or None."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, strict=True)

    @classmethod
    def schema_of_runs(cls) -> dict[str, dg.Field]:
        """The fields as Dagster's configuration schema: what the launchpad shows and a launch is checked against."""
        return {name: _field(f"{cls.__name__}_{name}", field) for name, field in cls.model_fields.items()}

    @classmethod
    def of(cls, context: dg.AssetExecutionContext) -> Self:
        """The configuration of a run.

        Raises:
            StockcastError: if a value is out of its range.
        """
        try:
            return cls(**context.op_execution_context.op_config)
        except ValidationError as error:
            name = context.asset_key.to_user_string()
            raise StockcastError(f"The run configuration of {name} is not usable: {said(error)}.") from None


def said(error: ValidationError) -> str:
    """What is wrong with the first wrong field, without a full stop."""
    first = error.errors(include_url=False)[0]
    if first["type"] == "extra_forbidden":
        return f"{'.'.join(map(str, first['loc']))} is no field that is known"
    value, message = repr(first["input"]), first["msg"].removeprefix("Value error, ")
    shown = value if len(value) <= _LONGEST_SHOWN else f"{value[:_LONGEST_SHOWN]}…"
    return f"{'.'.join(map(str, first['loc']))}={shown}: {message[0].lower()}{message[1:]}"


def configured_by(config: type[RunInput]) -> Callable[[Callable[..., Result]], Callable[..., Result]]:
    """Give the computation of an asset its `config`; the asset's `config_schema` is `config.schema_of_runs()`."""

    def decorate(compute: Callable[..., Result]) -> Callable[..., Result]:
        @wraps(compute)
        def run(context: dg.AssetExecutionContext, *arguments: Any, **resources: Any) -> Result:
            return compute(context, *arguments, config=config.of(context), **resources)

        # Dagster takes a parameter called config for one of its own kind.
        signature = inspect.signature(compute, eval_str=True)
        others = [parameter for name, parameter in signature.parameters.items() if name != "config"]
        run.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]
        run.__annotations__ = {name: kind for name, kind in compute.__annotations__.items() if name != "config"}
        return run

    return decorate


def _field(name: str, field: FieldInfo) -> dg.Field:
    default = {} if field.is_required() else {"default_value": field.get_default(call_default_factory=True)}
    return dg.Field(_type(name, field.annotation), description=field.description, is_required=not default, **default)


def _type(name: str, annotation: Any) -> Any:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        (inner,) = [argument for argument in arguments if argument is not NoneType]
        return dg.Noneable(_type(name, inner))
    if origin is Literal:
        return dg.Enum(name, [dg.EnumValue(value) for value in arguments])
    return dg.Permissive() if annotation is dict or origin is dict else annotation
