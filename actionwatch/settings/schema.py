"""Generate the JSON Schema of the configuration file from its keys, for editors."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Mapping
from datetime import timedelta, tzinfo
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from actionwatch.base.durations import spell_duration
from actionwatch.base.model import LEVELS, Level
from actionwatch.settings.keys import OWN_KEYS, ReceiverOptions, Settings, SourceFiles
from actionwatch.settings.stream_keys import StreamOptions
from actionwatch.settings.validators import Address
from actionwatch.text.options import Options

FILE = "config.schema.json"
FILE_SUFFIX = "_file"  # of the keys that name the file of a secret
_DURATION = {
    "type": "string",
    "pattern": r"^((\d+(\.\d+)?(s|m|h|d|w))+|.*\$\{.*)$",
    "examples": ["30s", "15m", "26h", "7d"],
}
_LINK = re.compile(r"\[([^]]+)\]\([^)]+\)")  # to a page of docs/, which editors do not have
_VARIABLE = {"type": "string", "pattern": r"\$\{"}
_NOT_JSON_SCHEMA = ("ge", "gt", "le", "lt", "writeOnly", "format", "title")


class SchemaGenerator(GenerateJsonSchema):
    """pydantic's generator, with the types as they are written in the file."""

    ignored_warning_kinds = {"non-serializable-default", "skipped-choice"}  # noqa: RUF012

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        made, model = super().model_schema(schema), schema["cls"]
        for name, text in key_descriptions(model).items():
            key = model.model_fields[name].alias or name
            made["properties"][key].setdefault("description", text)
        return made

    def timedelta_schema(self, schema: core_schema.TimedeltaSchema) -> JsonSchemaValue:  # noqa: ARG002
        return dict(_DURATION)

    def dataclass_schema(self, schema: core_schema.DataclassSchema) -> JsonSchemaValue:
        if schema["cls"] is Address:
            return {"type": "string", "examples": ["127.0.0.1:8080"]}
        return super().dataclass_schema(schema)

    def enum_schema(self, schema: core_schema.EnumSchema) -> JsonSchemaValue:
        if schema["cls"] is Level:
            return {"enum": list(LEVELS)}
        return super().enum_schema(schema)

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, timedelta):
            return spell_duration(dft)
        if isinstance(dft, Level):
            return dft.word
        if isinstance(dft, Address):
            return f"{dft.host}:{dft.port}"
        if isinstance(dft, Path):
            return str(dft)
        if isinstance(dft, tuple):
            return [self.encode_default(each) for each in dft]
        if isinstance(dft, Options):
            return None  # the parts have their own defaults
        if isinstance(dft, tzinfo):
            return str(dft)
        return super().encode_default(dft)

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        made = super().default_schema(schema)
        if made.get("default") is None:
            made.pop("default", None)
        return made


def key_descriptions(model: type[Options]) -> dict[str, str]:
    """Read the docstring below each key of a section from its source.

    pydantic can do that too (`use_attribute_docstrings`), but at each import, where it takes 40 ms of every command.
    """
    found: dict[str, str] = {}
    for section in reversed(model.__mro__[: model.__mro__.index(Options)]):
        parsed = ast.parse(textwrap.dedent(inspect.getsource(section))).body[0]
        for key, below in pairwise(parsed.body if isinstance(parsed, ast.ClassDef) else ()):
            match key, below:
                case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                    found[name] = inspect.cleandoc(text)
    return found


def config_schema(
    receivers: Mapping[str, type[Options]], streams: Mapping[str, type[Options]], dialect: str
) -> dict[str, Any]:
    """Build the schema. `receivers` and `streams` are the options of each type."""
    whole = Settings.model_json_schema(schema_generator=SchemaGenerator)
    definitions: dict[str, Any] = whole.pop("$defs", {})
    receiver = definitions["Receiver"] = _typed(ReceiverOptions, receivers, "receiver", definitions)
    for rated in (receiver, definitions["Upstream"]):
        rated["properties"]["rate"] |= {"type": ["string", "null"], "examples": ["1/s", "10/m", "100/h"]}
        rated["properties"]["rate"].pop("anyOf")
    _allow_source_files(whole["properties"]["sources"], definitions)
    definitions["Stream"] = _typed(StreamOptions, streams, "stream", definitions)
    whole = {"$schema": dialect, **whole, "title": "The configuration of actionwatch", "definitions": definitions}
    plain: dict[str, Any] = _plain(whole)
    return plain


def _allow_source_files(sources: dict[str, Any], definitions: dict[str, Any]) -> None:
    """Accept a file or folder instead of a list of sources, with their defaults."""
    files = SourceFiles.model_json_schema(schema_generator=SchemaGenerator)
    source = definitions["Source"]["properties"]
    files["properties"]["defaults"] |= {
        "properties": {key: schema for key, schema in source.items() if key not in OWN_KEYS},
        "additionalProperties": False,
    }
    definitions["SourceFiles"] = files
    listed = {key: sources.pop(key) for key in ("type", "items")}
    sources["anyOf"] = [listed, {"$ref": "#/$defs/SourceFiles"}]


def _typed(
    keys: type[Options], types: Mapping[str, type[Options]], noun: str, definitions: dict[str, Any]
) -> dict[str, Any]:
    """Return the schema of items that have exactly one type, which is a key with its options."""
    made = keys.model_json_schema(schema_generator=SchemaGenerator)
    definitions.update(made.pop("$defs", {}))
    for name, model in types.items():
        options = model.model_json_schema(schema_generator=SchemaGenerator)
        for inner, definition in options.pop("$defs", {}).items():
            definitions.setdefault(inner, definition)
        made["properties"][name] = {
            "anyOf": [options, {"type": "null"}],
            "description": f"The {noun} type `{name}` with its options.",
        }
    made["oneOf"] = [{"required": [name]} for name in types]
    return made


def _plain(value: Any) -> Any:
    """Refer to `definitions`, allow `${NAME}` for any scalar, and remove what is not JSON Schema."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    is_schema = "type" in value or "$ref" in value or "anyOf" in value or "enum" in value
    if isinstance(value.get("properties"), dict):
        _describe_files(value["properties"])
    made = {
        key: re.sub(r"^#/\$defs/", "#/definitions/", item) if key == "$ref" else _plain(item)
        for key, item in value.items()
        if not (is_schema and key in _NOT_JSON_SCHEMA and not isinstance(item, dict))
    }
    if "$ref" in made and len(made) > 1:  # draft 7 ignores the other keys of an object with a reference
        made["allOf"] = [{"$ref": made.pop("$ref")}]
    if isinstance(description := made.get("description"), str):
        made["description"] = _LINK.sub(r"\1", " ".join(description.split()))
    if made.get("type") in ("integer", "number", "boolean"):
        about = {key: made.pop(key) for key in ("description", "default") if key in made}
        return {**about, "anyOf": [made, _VARIABLE]}
    return made


def _describe_files(properties: dict[str, Any]) -> None:
    """Describe each key `x_file` that has no description by the key `x`."""
    for name, each in properties.items():
        if name.endswith(FILE_SUFFIX) and isinstance(each, dict):
            each.setdefault("description", f"A file whose first line is `{name.removesuffix(FILE_SUFFIX)}`.")
