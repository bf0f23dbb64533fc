import csv
import json
import pathlib
import sys

import pytest

from tests.tools.helpers import load

ROOT = pathlib.Path(__file__).parents[2]
RUNS = sorted(path.parent for path in (ROOT / "results").glob("resnet20_at_cifar10_dis-chn-pruned_0.5*/result.json"))


@pytest.fixture(scope="module")
def tool():
    return load("compare")


def call(tool, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["compare.py", *map(str, arguments)])
    tool.main()


def test_runs_of_one_dense_model_share_its_row(tool, tmp_path, monkeypatch, capsys):
    call(tool, monkeypatch, *RUNS, "--out", tmp_path / "all")
    head, *rows = list(csv.reader((tmp_path / "all.csv").read_text().splitlines()))
    assert head[1:3] == ["run", "accuracy, %"]
    assert len(rows) == 1 + len(RUNS)
    assert rows[0][1].startswith("resnet20_at_cifar10, dense")
    pruned = json.loads((RUNS[0] / "result.json").read_text())["pruned"]
    assert [rows[1][1], float(rows[1][2])] == [RUNS[0].name, 100 * pruned["accuracy"]]
    assert capsys.readouterr().out.strip() == (tmp_path / "all.md").read_text().strip()


def test_the_page_has_both_pictures_and_needs_nothing_else(tool, tmp_path, monkeypatch):
    call(tool, monkeypatch, *RUNS, "--out", tmp_path / "all")
    text = (tmp_path / "all.html").read_text()
    assert text.count("<svg") == 2
    assert text.count("<circle") == 2 * (1 + len(RUNS))
    assert "src=" not in text
    assert "href=" not in text


def test_a_folder_without_a_result_is_named(tool, tmp_path, monkeypatch):
    with pytest.raises(SystemExit, match=f"{tmp_path} holds no result.json"):
        call(tool, monkeypatch, tmp_path)


def test_a_damaged_result_is_named(tool, tmp_path, monkeypatch):
    (tmp_path / "result.json").write_text('{"dense": ')
    with pytest.raises(SystemExit, match=f"{tmp_path}/result.json is no readable result"):
        call(tool, monkeypatch, tmp_path)


def copied(run, folder, **dense):
    """A run as it would lie in another folder, of another dense model."""
    folder.mkdir(parents=True)
    result = json.loads((run / "result.json").read_text())
    result["dense"] |= dense
    (folder / "result.json").write_text(json.dumps(result))
    return folder


def test_runs_of_one_name_are_told_apart_by_their_folders(tool, tmp_path):
    here, there, other = (copied(RUNS[0], tmp_path / name) for name in ("here/run", "there/run", "there/other"))
    rows = tool.rows_of([here, there, other, there])
    assert list(rows)[1:] == ["here/run", "there/run", "other"]


def test_what_does_not_compare_is_said(tool, tmp_path):
    """Held-out pictures beside test pictures; MACs of a method's own count, which get a picture more."""
    first, second = (copied(RUNS[0], tmp_path / name) for name in ("first", "second"))
    result = json.loads((second / "result.json").read_text())
    name, own = result["data"]["name"], result["pruned"]
    result["data"]["name"], own["macs_method"] = f"{name}, held out", own["macs"] / 2
    (second / "result.json").write_text(json.dumps(result))
    rows = tool.rows_of([first, second])
    assert len(rows) == 4
    assert f"Of several data ({name}, {name}, held out): accuracies do not compare." in tool.markdown(rows)
    assert "MACs are those of a learner's own count where it has one" in tool.markdown(rows)
    assert tool.page(rows).count("<svg") == 3
    assert "several data" not in tool.markdown(tool.rows_of([first]))


def test_a_name_is_shown_as_it_is(tool, tmp_path):
    text = tool.page(tool.rows_of([copied(RUNS[0], tmp_path / "<b>&c")]))
    assert "&lt;b&gt;&amp;c" in text
    assert "<b>" not in text


def test_what_is_missing_is_blank(tool, tmp_path):
    run = copied(RUNS[0], tmp_path / "run")
    assert json.loads((run / "result.json").read_text()).get("int8") is None
    _, dense, pruned = csv.reader(tool.comma_separated(tool.rows_of([run])).splitlines())
    assert dense[-2:] == pruned[-2:] == ["", ""]


def test_a_name_with_a_bar_in_it_is_one_cell(tool, tmp_path):
    text = tool.markdown(tool.rows_of([copied(RUNS[0], tmp_path / "a|b")]))
    head, _, _, pruned = text.splitlines()
    assert "| a\\|b |" in pruned
    assert pruned.replace("\\|", "").count("|") == head.count("|")


def test_times_of_several_processors_are_shares_of_the_dense_ones(tool, tmp_path):
    first, second = (copied(RUNS[0], tmp_path / name) for name in ("first", "second"))
    assert ">LiteRT, ms</text>" in (alone := tool.page(tool.rows_of([first, second])))
    assert "several processors" not in alone
    result = json.loads((second / "result.json").read_text())
    result["machine"]["cpu"] = "another one"
    (second / "result.json").write_text(json.dumps(result))
    rows = tool.rows_of([first, second])
    assert f">{tool.OF_DENSE}</text>" in tool.page(rows)
    assert "(AMD EPYC, another one): milliseconds do not compare" in tool.markdown(rows)
    dense, pruned, _ = tool.cells(rows)[1:]
    share = tool.cells(rows)[0].index(tool.OF_DENSE)
    assert dense[share] == 1
    assert pruned[share] == pytest.approx(pruned[share - 1] / dense[share - 1])


def test_one_dense_model_on_two_processors_is_one(tool, tmp_path):
    loss = json.loads((RUNS[0] / "result.json").read_text())["dense"]["loss"]
    first, second = copied(RUNS[0], tmp_path / "first"), copied(RUNS[0], tmp_path / "second", loss=loss + 1e-8)
    assert len(tool.rows_of([first, second])) == 3


def test_dense_models_of_almost_equal_accuracy_are_two(tool, tmp_path):
    first, second = copied(RUNS[0], tmp_path / "first"), copied(RUNS[0], tmp_path / "second", loss=0.5)
    dense, other, *_ = tool.rows_of([first, second])
    assert other == f"{dense}, of second"


def test_a_name_with_a_point_in_it_stays_whole(tool, tmp_path, monkeypatch):
    for name in ("kept_0.5", "kept_0.75"):
        call(tool, monkeypatch, RUNS[0], "--out", tmp_path / name)
    names = {f"kept_{share}{suffix}" for share in ("0.5", "0.75") for suffix in (".md", ".csv", ".html")}
    assert {path.name for path in tmp_path.iterdir()} == names
