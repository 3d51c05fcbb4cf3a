"""Resources whose configuration is told by code alone: the Resources page shows it, no run's configuration changes it.

Dagster makes every field of a resource a part of the run configuration, with the value given in code as its default. So
whoever may launch a run may choose another database, another bucket, or, by `{env: NAME}`, read the environment.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from dagster import ConfigurableResource, Field, ResourceDefinition
from dagster._config.pythonic_config.io_manager import ConfigurableIOManagerFactoryResourceDefinition
from dagster._config.pythonic_config.resource import ConfigurableResourceFactoryResourceDefinition
from dagster._core.definitions.definition_config_schema import (
    ConfiguredDefinitionConfigSchema,
    DefinitionConfigSchema,
    IDefinitionConfigSchema,
)
from dagster._utils.cached_method import cached_method

from stockcast_assets.errors import StockcastError

HIDDEN = "(hidden)"
_SECRET = re.compile(r"credential|secret|password|token|_key$", re.IGNORECASE)


class _Fixed(ConfiguredDefinitionConfigSchema):
    """What a run may configure: nothing. What the Resources page reads: the fields and values of the definition."""

    def __init__(self, definition: ResourceDefinition) -> None:
        own = definition.config_schema
        given = own.default_value if own.default_provided else {}
        super().__init__(definition, DefinitionConfigSchema(Field({}, is_required=False)), lambda _: given)
        shown = {name: _shown(name, value) for name, value in given.items()} if isinstance(given, dict) else {}
        self._shown = json.dumps(shown, default=str)

    @property
    def default_provided(self) -> bool:
        return True

    @property
    def default_value(self) -> Any:
        return {}

    @property
    def default_value_as_json_str(self) -> str:
        return self._shown


def _shown(name: str, value: Any) -> Any:
    named = isinstance(value, dict) and set(value) == {"env"}
    return HIDDEN if _SECRET.search(name) and value is not None and not named else value


def fixed(definition: ResourceDefinition) -> ResourceDefinition:
    """The same resource, which a run's configuration can no longer change.

    The Resources page shows its configuration, but not the values of fields whose names say that they hold a secret.
    """
    schema: IDefinitionConfigSchema = _Fixed(definition)
    for kind in (ConfigurableIOManagerFactoryResourceDefinition, ConfigurableResourceFactoryResourceDefinition):
        if isinstance(definition, kind):
            # Not `copy_for_configured`: it forgets the class, which the page names, and the nested resources.
            return kind(
                definition.configurable_resource_cls,
                definition.resource_fn,
                schema,
                definition.description,
                definition.nested_resources,
                definition.nested_partial_resources,
            )
    return definition.copy_for_configured(definition.description, schema)


def fixed_value(
    value: Any, description: str | None = None, shown: Mapping[str, str] | None = None
) -> ResourceDefinition:
    """A resource that is a plain object, made already.

    Args:
        value: the object.
        description: what the Resources page says of it.
        shown: what the page shows as its configuration; nothing reads it.
    """
    fields = {name: Field(str, default_value=text) for name, text in (shown or {}).items()}
    plain = ResourceDefinition(lambda _: value, fields, description)
    definition = fixed(plain)
    # Else the page names its type by the function that makes it.
    definition._hardcoded_resource_type = type(value)  # type: ignore[assignment]
    return definition


class FixedConfiguration(ConfigurableResource[Any]):
    """A resource that is configured in code and by nothing else. Put it before the class of the resource."""

    @cached_method
    def get_resource_definition(self) -> Any:
        """Dagster's definition of the resource, closed to a run's configuration."""
        return fixed(super().get_resource_definition())

    @classmethod
    def configure_at_launch(cls, **kwargs: Any) -> NoReturn:
        """Refused: raises StockcastError."""
        raise StockcastError(
            f"{cls.__name__} cannot be configured at launch, since whoever launches a run could then choose where it "
            "reads and writes: give its values in code, from the environment by dagster.EnvVar."
        )
