"""The programs of tools/ and benchmarks/, which are no packages, as modules."""

import importlib.util
import pathlib
import sys
import types

ROOT = pathlib.Path(__file__).parents[2]


def load(name: str, folder: str = "tools") -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / folder / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    # A program finds those beside it, as when it is started.
    sys.path.insert(0, str(ROOT / folder))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(ROOT / folder))
    return module
