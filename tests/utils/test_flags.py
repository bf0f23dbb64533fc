import dataclasses

import pytest

from secateur.utils.errors import UsageError
from secateur.utils.flags import FlagTable, check_above_zero, check_least, check_share, option


@dataclasses.dataclass(frozen=True)
class One:
    ratio: float = option(0.5, "a share")
    name: str | None = option(None, "a name")
    fast: bool = option(False, "hurry")
    mode: str = option("x", "how", choices=("x", "y"))

    def __post_init__(self):
        if not 0 <= self.ratio <= 1:
            raise ValueError(f"--ratio {self.ratio}: must be 0 to 1")


@dataclasses.dataclass(frozen=True)
class Two:
    steps: int | None = option(None, "how many")
    fast: bool = option(False, "hurry")


@pytest.fixture
def table():
    return FlagTable({"first": One, "second": Two})


def test_defaults(table):
    table.parse([])
    assert table.read("first") == One()
    assert table.read("second") == Two()


def test_values_and_a_shared_flag(table):
    table.parse(["--ratio", "0.25", "--name=a b", "--fast", "--steps=3", "--mode", "y"])
    assert table.read("first") == One(ratio=0.25, name="a b", fast=True, mode="y")
    assert table.read("second") == Two(steps=3, fast=True)


def test_a_path_may_begin_at_home(table, monkeypatch):
    monkeypatch.setenv("HOME", "/home/u")
    table.parse(["--name=~/models"])
    assert table.read("first").name == "/home/u/models"


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--nothing=1"], "nothing"),
        (["--steps=many"], "steps"),
        (["--mode=z"], "mode"),
        (["word"], "'word' is not a flag"),
    ],
)
def test_what_does_not_parse(table, argv, says):
    with pytest.raises(UsageError, match=says) as caught:
        table.parse(argv)
    assert "\n" not in str(caught.value)
    assert "--help" in str(caught.value)


def test_own_checks_become_usage_errors(table):
    table.parse(["--ratio=2"])
    with pytest.raises(UsageError, match=r"--ratio 2\.0: must be 0 to 1"):
        table.read("first")


def test_flag_of_an_inactive_section_is_refused_even_at_its_default(table):
    table.parse(["--ratio=0.5"])
    table.refuse_given(["first"])
    with pytest.raises(UsageError, match="--ratio belongs to first, which was not chosen"):
        table.refuse_given(["second"])


def test_shared_flag_is_fine_with_either(table):
    table.parse(["--fast"])
    table.refuse_given(["second"])
    assert table.read("second").fast


def test_help_is_grouped(table):
    text = table.help()
    assert text.index("first:") < text.index("--ratio FLOAT") < text.index("second:") < text.index("--steps INT")
    assert "--mode x|y" in text
    assert "--[no]fast" in text
    assert "a share (default 0.5)" in text


def test_what_each_section_does_and_its_first_flag(table):
    lines = table.main_flags({"second": "b", "first": "what it does"}).splitlines()
    assert lines[-2].split(maxsplit=1) == ["first", "what it does"]
    assert lines[-1].strip() == "--ratio FLOAT a share (default 0.5)"
    assert lines[0].split() == ["second", "b"]


def test_two_tables_do_not_meet():
    a, b = FlagTable({"first": One}), FlagTable({"first": One})
    a.parse(["--ratio=0.1"])
    b.parse([])
    assert (a.read("first").ratio, b.read("first").ratio) == (0.1, 0.5)


@dataclasses.dataclass(frozen=True)
class Numbers:
    share: float | None = option(None, "a share")
    count: int | None = option(None, "a number")


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (
            lambda: check_share(Numbers(0.0), "what may stay", "share"),
            "--share 0.0: must be above 0 and at most 1",
        ),
        (
            lambda: check_share(Numbers(1.5), "what may stay", "share"),
            "--share 1.5: must be above 0 and at most 1",
        ),
        (lambda: check_share(Numbers(float("nan")), "what may stay", "share"), "--share nan: must be above 0"),
        (lambda: check_least(Numbers(count=-1), 0, "count"), "--count -1: must be 0 or more"),
        (lambda: check_above_zero(Numbers(count=0), "count"), "--count 0: must be above 0"),
    ],
)
def test_checks_name_flag_value_and_rule(check, message):
    with pytest.raises(ValueError, match=message):
        check()


def test_checks_pass_what_is_not_set_or_within():
    for numbers in (Numbers(), Numbers(1.0, 1), Numbers(1e-9, 7)):
        check_share(numbers, "what may stay", "share")
        check_least(numbers, 1, "count")
        check_above_zero(numbers, "share", "count")
