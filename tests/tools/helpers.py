"""The programs of tools/ and benchmarks/, which are no packages, as modules."""

import importlib.util
import pathlib
import types

ROOT = pathlib.Path(__file__).parents[2]


def load(name: str, folder: str = "tools") -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
