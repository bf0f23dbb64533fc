"""Prints docs/flags.md, the page of all flags, from the dataclasses that hold them.

.venv/bin/python tools/flags_page.py > docs/flags.md
"""

import dataclasses
import importlib
import pathlib
import typing

from secateur.utils.streams import import_quietly

import_quietly()  # before what imports TensorFlow, which would begin with a page about itself

from secateur.learners import registry
from secateur.nets import runner
from secateur.utils.flags import plain_type

HEAD = """# All flags

Of `nets/<network>_at_<data>_run.py`, by `--name value` or `--name=value`; `--noname` turns a switch off. A flag of a
learner that was not chosen is refused. (This page is printed by `tools/flags_page.py`.)
"""


def page() -> str:
    """Every run's flags, then the learners' and the networks'."""
    sections = {"Every run": runner.Settings}
    sections |= {f"Learner `{name}`": entry.config for name, entry in registry.LEARNERS.items()}
    for path in sorted(pathlib.Path(runner.__file__).parent.glob("*_run.py")):
        module = importlib.import_module(f"secateur.nets.{path.stem}")
        sections[f"`nets/{path.name}`"] = typing.get_type_hints(module.task)["flags"]
    return HEAD + "".join(section(title, kind) for title, kind in sections.items() if dataclasses.fields(kind))


def section(title: str, kind: type) -> str:
    lines = ["", f"## {title}", "", "| flag | default | meaning |", "|---|---|---|"]
    return "\n".join([*lines, *[row(field) for field in dataclasses.fields(kind)]]) + "\n"


def row(field: dataclasses.Field) -> str:
    choices = field.metadata.get("choices")
    kind = plain_type(field.type)
    values = "\\|".join(choices) if choices else "" if kind is bool else kind.__name__.upper()
    default = "" if field.default is None else f"`{field.default}`"
    return f"| `--{field.name}`{f' {values}' if values else ''} | {default} | {field.metadata['help']} |"


if __name__ == "__main__":
    print(page(), end="")
