"""The pages of docs/: they build without a broken link, and what they show is true."""

import json
import pathlib
import re
import subprocess
import sys
import tomllib

import numpy as np
import pytest
from PIL import Image

from secateur.export import LiteModel
from secateur.learners import registry
from tests.tools.helpers import load

ROOT = pathlib.Path(__file__).parents[2]
DOCS = ROOT / "docs"
# What people read: the site checks the links of its own pages, these tests those of the others too.
PAGES = [*DOCS.glob("*.md"), *ROOT.glob("*.md"), ROOT / "results" / "README.md"]
# Of other programs: benchmark_model, Slurm, TensorBoard.
FOREIGN_FLAGS = {"graph", "num_threads", "use_xnnpack", "partition", "gpus", "logdir"}


def test_it_builds_without_warnings(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for page in DOCS.glob("*.md"):
        name = "index.html" if page.stem == "index" else f"{page.stem}/index.html"
        assert (tmp_path / "site" / name).is_file()


def test_every_page_is_in_the_menu():
    menu = set(re.findall(r"(\w+\.md)", (ROOT / "mkdocs.yml").read_text()))
    assert menu == {page.name for page in DOCS.glob("*.md")}


def test_the_page_of_flags_is_that_of_the_dataclasses():
    assert load("flags_page").page() == (DOCS / "flags.md").read_text()


def test_every_learner_has_its_section():
    sections = (DOCS / "learners.md").read_text().split("\n## ")[1:]
    by_name = {section.split("`")[1]: section for section in sections if section.startswith("`")}
    assert set(by_name) == set(registry.LEARNERS)
    # What is minimised stands there for those that follow a paper.
    assert all(re.search(r"^    L +=", by_name[name], re.M) for name in ("dis-chn-pruned", "fcf", "stripe", "fbs"))


def test_our_rows_beside_published_figures_are_those_of_the_results():
    rows = [line for line in (DOCS / "results.md").read_text().splitlines() if "**here**" in line and line[0] == "|"]
    assert rows
    for line in rows:
        (name,) = re.findall(r"`(\w+_at_[\w.-]+)`", line)
        paths = [path for path in (ROOT / "results").glob("*/result.json") if _is_seed_of(name, path.parent.name)]
        results = [json.loads(path.read_text()) for path in paths]
        pairs = [(result["dense"], result["pruned"]) for result in results]
        before, after = 100 * pairs[0][0]["accuracy"], 100 * np.mean([own["accuracy"] for _, own in pairs])
        fewer = np.mean([dense["macs"] / own.get("macs_method", own["macs"]) for dense, own in pairs])
        smaller = np.mean([dense["params"] / own.get("params_method", own["params"]) for dense, own in pairs])
        faster = np.mean([dense["latency_ms"]["median"] / own["latency_ms"]["median"] for dense, own in pairs])
        wanted = [f"{before:.2f} to {after:.2f}", f"{before - after:.2f}", f"{fewer:.2f} times fewer"]
        wanted += [f"{smaller:.2f} times fewer", f"{faster:.2f}"]
        assert [cell.strip() for cell in line.split("|")][3:8] == wanted
        assert len(results) == 1 or f"{len(results)} seeds" in line


def _is_seed_of(name, folder):
    return re.fullmatch(re.escape(name) + r"(_seed\d+)?", folder) is not None


def test_every_dependency_is_explained():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {re.match(r"[\w-]+", text).group() for text in project["dependencies"]}
    wanted |= {re.match(r"[\w-]+", text).group() for text in project["optional-dependencies"]["dev"]}
    explained = set(re.findall(r"`([\w-]+)`", (DOCS / "dependencies.md").read_text()))
    assert wanted <= explained


def test_the_code_of_the_deployment_page_classifies_a_picture(tmp_path):
    (code,) = re.findall(r"```python\n(.*?)```", (DOCS / "deployment.md").read_text(), re.S)
    model = ROOT / "results" / "resnet20_at_cifar10_full-prec" / "model.tflite"
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3)).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "picture.png")
    (tmp_path / "classify.py").write_text(code)
    command = [sys.executable, str(tmp_path / "classify.py"), str(model), str(tmp_path / "picture.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) == LiteModel(model).predict(picture[None].astype(np.float32))[0].argmax()


def test_scripts_and_programs_that_the_pages_name_exist():
    text = "".join(page.read_text() for page in PAGES)
    named = set(re.findall(r"(?<!/)(?:benchmarks|tools|scripts|nets)/[\w/]+\.(?:py|sh)", text))
    assert named
    assert {name for name in named if not (ROOT / name).is_file()} <= {"nets/mynet_at_mydata_run.py"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_links_to_exists(page):
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()) if not re.match(r"https?:", link)]
    for link in links:
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        titles = re.findall(r"^#+ +(.*)$", target.read_text(), re.M) if anchor else []
        # As the site makes anchors of titles.
        assert not anchor or anchor in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}, (
            link
        )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_flags_that_a_page_names_exist(page):
    folders = ("benchmarks", "datasets", "learners", "nets", "scripts", "tools", "training", "utils")
    sources = [path for name in folders for path in (ROOT / name).rglob("*") if path.suffix in (".py", ".sh")]
    known = set(re.findall(r"^ +(\w+): .*= option\(", "\n".join(path.read_text() for path in sources), re.M))
    known |= set(re.findall(r"--(\w+)", "\n".join(path.read_text() for path in sources))) | FOREIGN_FLAGS
    named = set(re.findall(r"(?<![\w-])--(?:no(?=enbl))?([a-z]\w+)", page.read_text()))
    assert named <= known
