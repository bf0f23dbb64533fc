"""The programs of tools/, which are no package, as modules."""

import importlib.util
import pathlib
import types

TOOLS = pathlib.Path(__file__).parents[2] / "tools"


def load(name: str) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
