import pathlib
import re

from tests.tools.helpers import load

ROOT = pathlib.Path(__file__).parents[2]


def test_every_dependency_has_its_oldest_version_in_the_lock_file():
    wanted = load("oldest").oldest()
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", text) for text in wanted)
    assert {"tensorflow", "keras", "numpy", "pytest"} <= {text.split("==")[0] for text in wanted}
    locked = dict(re.findall(r"^([\w-]+)==([\w.]+)", (ROOT / "requirements.oldest.lock").read_text(), re.M))
    for text in wanted:
        name, version = text.split("==")
        assert f"{locked[name]}.".startswith(f"{version}.")
