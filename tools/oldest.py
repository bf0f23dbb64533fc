"""Prints the oldest versions that pyproject.toml admits, of what the program and the core of its tests need.

.venv/bin/python tools/oldest.py    (`make lock` locks them with all that they need in requirements.oldest.lock)
"""

import pathlib
import re
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOR_TESTS = ("hypothesis", "pytest", "pytest-xdist")


def oldest() -> list[str]:
    """`name==version`, the version that each dependency has behind its >=."""
    everything = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project = everything["project"]
    wanted = {_name(text): text for text in project["optional-dependencies"]["dev"]}
    texts = [*project["dependencies"], *[wanted[name] for name in FOR_TESTS], *everything["build-system"]["requires"]]
    return [re.sub(r"^([\w-]+)>=([\d.]+).*$", r"\1==\2", text) for text in texts]


def _name(text: str) -> str:
    return re.split(r"[<>=]", text)[0]


if __name__ == "__main__":
    print("\n".join(oldest()))
