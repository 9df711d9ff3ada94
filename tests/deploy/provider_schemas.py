"""What a resource of a Terraform provider may have, from the bindings that HashiCorp generates from the provider."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

META: Final = {
    "count",
    "for_each",
    "depends_on",
    "lifecycle",
    "provider",
    "__comments__",
    "__inline_comments__",
    "__is_block__",
}
_INTERFACE: Final = re.compile(r"^export interface (\w+)[^{]*\{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
_FIELD: Final = re.compile(
    r"/\*\*(?P<doc>(?:(?!\*/).)*?#\w+ \w+#(?P<name>\w+)\}(?:(?!\*/).)*)\*/"
    r"\s+readonly \w+(?P<optional>\?)?: (?P<type>\w+)?",
    re.DOTALL,
)
_GETTER: Final = re.compile(r"^ +get (\w+)\(\)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Field:
    """An argument or a nested block; `block` names the block's own shape."""

    is_required: bool
    block: str | None


class Schema:
    """One resource or data source."""

    def __init__(self, bindings: Path) -> None:
        text = bindings.read_text(encoding="utf-8")
        self._shapes = {name: _fields(body) for name, body in _INTERFACE.findall(text)}
        self._told = set(_GETTER.findall(text))
        (self._top,) = [
            name for name in self._shapes if f"interface {name} extends cdktf.TerraformMetaArguments" in text
        ]

    def faults(self, block: dict[str, Any], where: str) -> list[str]:
        """What the provider would refuse in this block."""
        return self._faults(block, self._top, where)

    def tells(self, attribute: str) -> bool:
        """Does it have this attribute to refer to?"""
        first, *others = attribute.split("_")
        return first + "".join(one.capitalize() for one in others) in self._told or attribute == "id"

    def _faults(self, block: dict[str, Any], shape: str, where: str) -> list[str]:
        fields, found = self._shapes[shape], []
        dynamic = {plain(name): body for one in block.get("dynamic", ()) for name, body in one.items()}
        for name, value in block.items():
            if name in META or name == "dynamic":
                continue
            field = fields.get(name)
            if field is None:
                found.append(f"{where}: there is no {name}")
                continue
            blocks = (
                [one for one in value if isinstance(one, dict) and "__is_block__" in one]
                if isinstance(value, list)
                else []
            )
            if bool(blocks) != (field.block is not None):
                found.append(f"{where}: {name} is {'an argument' if field.block is None else 'a block'}")
            for one in blocks:
                if field.block is not None:
                    found += self._faults(one, field.block, f"{where}.{name}")
        for name, body in dynamic.items():
            field = fields.get(name)
            if field is None or field.block is None:
                found.append(f"{where}: there is no block {name}")
                continue
            for content in body["content"]:
                found += self._faults(content, field.block, f"{where}.{name}")
        given = block.keys() | dynamic.keys()
        found += [
            f"{where}: {name} is missing" for name, field in fields.items() if field.is_required and name not in given
        ]
        return found


def plain(text: str) -> str:
    """A name without the quotes that the parser leaves around it."""
    return text.strip('"')


def _fields(body: str) -> dict[str, Field]:
    return {
        one["name"]: Field(
            is_required=one["optional"] is None,
            block=one["type"] if re.search(rf"\* {one['name']} block\n", one["doc"]) else None,
        )
        for one in _FIELD.finditer(body)
    }


@cache
def schema(modules: Path, kind: str, *, is_data: bool) -> Schema:
    """That of `aws_lb`, or of the data source of that name."""
    provider, _, name = kind.partition("_")
    folder = name.replace("_", "-") if not is_data else f"data-{provider}-{name.replace('_', '-')}"
    return Schema(modules / "@cdktf" / f"provider-{provider}" / "lib" / folder / "index.d.ts")
