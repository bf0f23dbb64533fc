"""Command-line flags generated from frozen dataclasses: the only place, with `nets/runner.py`, that sees absl."""

import dataclasses
import os
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from absl import flags

from secateur.utils.errors import UsageError


def option(default: Any, help: str, choices: Sequence[str] | None = None) -> Any:
    """A dataclass field that becomes a flag of its name, type and default."""
    return dataclasses.field(default=default, metadata={"help": help, "choices": choices})


def check_least(config: Any, least: float, *names: str) -> None:
    """Check that each of these options that is set is at least so much.

    Raises:
        ValueError: names the flag, its value and the rule.
    """
    for name in names:
        value = getattr(config, name)
        if value is not None and not value >= least:
            raise ValueError(f"--{name} {value}: must be {least} or more")


def check_above_zero(config: Any, *names: str) -> None:
    """Check that each of these options that is set is above 0; errors as `check_least`."""
    for name in names:
        value = getattr(config, name)
        if value is not None and not value > 0:
            raise ValueError(f"--{name} {value}: must be above 0")


def check_share(config: Any, what: str, *names: str) -> None:
    """Check that each of these options that is set is above 0 and at most 1; errors as `check_least`.

    Args:
        what: the share of what it is.
    """
    for name in names:
        value = getattr(config, name)
        if value is not None and not 0 < value <= 1:
            raise ValueError(f"--{name} {value}: must be above 0 and at most 1, {what}")


class FlagTable:
    """The flags of several dataclasses ("sections"), parsed together.

    Two sections may share a field; it is one flag then, with the first section's help.

    Args:
        sections: title to dataclass, in the order of the help.
    """

    def __init__(self, sections: Mapping[str, type]):
        self.sections = dict(sections)
        self._values = flags.FlagValues()
        self._owners: dict[str, list[str]] = {}
        for title, section in self.sections.items():
            for field in dataclasses.fields(section):
                self._owners.setdefault(field.name, []).append(title)
                if len(self._owners[field.name]) == 1:
                    _define(field, self._values)

    def parse(self, argv: Sequence[str]) -> None:
        """Parse everything behind the program's name.

        Raises:
            UsageError: an unknown flag, a value that does not parse, or a word that is no flag.
        """
        try:
            rest = self._values(["program", *argv])
        except flags.Error as error:
            raise UsageError(f"{str(error).splitlines()[0]}. --help lists the flags") from None
        if len(rest) > 1:
            raise UsageError(f"'{rest[1]}' is not a flag: flags begin with --. --help lists them")

    def read(self, title: str) -> Any:
        """The section's dataclass with the parsed values; a ValueError of its own checks becomes a UsageError."""
        section = self.sections[title]
        values = {field.name: _at_home(self._values[field.name].value) for field in dataclasses.fields(section)}
        try:
            return section(**values)
        except ValueError as error:
            raise UsageError(str(error)) from None

    def refuse_given(self, active: Sequence[str]) -> None:
        """Raise a UsageError for a flag on the command line that belongs to no active section."""
        for name, owners in self._owners.items():
            if self._values[name].present and not set(owners) & set(active):
                raise UsageError(f"--{name} belongs to {' and '.join(owners)}, which was not chosen: leave it out")

    def main_flags(self, summaries: Mapping[str, str]) -> str:
        """For each of these sections what it does, and its first flag in a line of its own."""
        lines = []
        for title, summary in summaries.items():
            fields = dataclasses.fields(self.sections[title])
            lines.append(f"  {title:26}{summary}")
            lines += [28 * " " + _help_line(field).replace("\n     ", "").lstrip() for field in fields[:1]]
        return "\n".join(lines)

    def help(self) -> str:
        """All flags, section by section."""
        lines = []
        for title, section in self.sections.items():
            lines += ["", f"{title}:"]
            lines += [_help_line(field) for field in dataclasses.fields(section)]
        return "\n".join(lines[1:])


def _at_home(value: Any) -> Any:
    """`~/x` as a path of the user's home: shells leave the value of `--flag=~/x` as it is."""
    return os.path.expanduser(value) if isinstance(value, str) and value.startswith("~/") else value


def plain_type(annotation: Any) -> type:
    """The type behind `T | None`."""
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        (annotation,) = [a for a in typing.get_args(annotation) if a is not type(None)]
    return annotation


def _define(field: dataclasses.Field, values: flags.FlagValues) -> None:
    name, default, help_text = field.name, cast(Any, field.default), field.metadata["help"]
    choices, kind = field.metadata.get("choices"), plain_type(field.type)
    if choices:
        flags.DEFINE_enum(name, default, choices, help_text, flag_values=values)
        return
    defines: dict[type, Callable] = {
        bool: flags.DEFINE_boolean,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        str: flags.DEFINE_string,
    }
    defines[kind](name, default, help_text, flag_values=values)


def _help_line(field: dataclasses.Field) -> str:
    choices, kind = field.metadata.get("choices"), plain_type(field.type)
    value = "|".join(choices) if choices else "" if kind is bool else kind.__name__.upper()
    left = f"  --{'[no]' if kind is bool else ''}{field.name} {value}".rstrip()
    default = "" if field.default is None else f" (default {field.default})"
    return f"{left}\n      {field.metadata['help']}{default}"
