"""Imports run one way: nets -> learners -> {training, datasets, export} -> pruning -> utils."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
BELOW = {
    "utils": set(),
    "pruning": {"utils"},
    "datasets": {"utils"},
    "training": {"utils", "pruning"},
    "export": {"utils", "pruning"},
    "learners": {"utils", "pruning", "datasets", "training", "export"},
    "nets": {"utils", "pruning", "datasets", "training", "export", "learners"},
}
SOURCES = [path for package in BELOW for path in sorted((ROOT / package).rglob("*.py"))]


def imported_modules(path: pathlib.Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_sources_are_found():
    assert len(SOURCES) > 30


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_only_what_lies_below(path):
    package = path.relative_to(ROOT).parts[0]
    own = {name.split(".")[1] for name in imported_modules(path) if name.startswith("secateur.")}
    assert own <= BELOW[package] | {package}


@pytest.mark.parametrize("path", sorted((ROOT / "learners").glob("*/*.py")), ids=lambda path: path.parent.name)
def test_no_learner_imports_another(path):
    others = {p.name for p in (ROOT / "learners").iterdir() if p.is_dir()} - {path.parent.name}
    assert not [name for name in imported_modules(path) for other in others if f"learners.{other}" in name]


def test_every_package_is_listed_in_pyproject():
    packages = {path.parent for path in SOURCES}
    listed = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for package in packages:
        name = "secateur." + ".".join(package.relative_to(ROOT).parts)
        assert f'"{name}"' in listed
