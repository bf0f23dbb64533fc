import keras
import pytest

from secateur.training.stage_folder import StageFolder


@pytest.fixture
def folders(tmp_path):
    """Those of two runs that lie side by side."""
    return [StageFolder(tmp_path / name / "stages", tmp_path / "shared", print) for name in ("one", "two")]


def test_a_stage_of_its_own_is_found_by_that_run_alone(folders):
    folders[0].save("s", None, [keras.Variable(3.0)], {"output": 1})
    variable = keras.Variable(0.0)
    assert folders[1].restore("s", None, [variable]) is None
    assert folders[0].restore("s", None, [variable]) == {"output": 1}
    assert float(variable) == 3


def test_a_stage_with_a_key_is_found_by_both(folders):
    folders[0].save("s", {"b": 2, "a": 1}, [keras.Variable(3.0)], {"output": 1})
    variable = keras.Variable(0.0)
    assert folders[1].restore("s", {"a": 1, "b": 3}, [variable]) is None
    assert folders[1].restore("s", {"a": 1, "b": 2}, [variable]) == {"output": 1}
    assert float(variable) == 3


def test_a_damaged_stage_has_to_run_again(folders, tmp_path, capsys):
    folders[0].save("s", None, [], {})
    (tmp_path / "one" / "stages" / "s.npz").write_bytes(b"x")
    assert folders[0].restore("s", None, []) is None
    assert "s.npz is damaged: the stage s runs again" in capsys.readouterr().out


def test_values_are_found_by_their_key_and_made_again_if_damaged(folders, tmp_path):
    calls = []

    def value(number):
        return lambda: calls.append(number) or {"a": number}

    for folder in folders:
        assert folder.value("scan", ["key", 1], value(1)) == {"a": 1}
        assert folder.value("scan", ["key", 2], value(2)) == {"a": 2}
    assert calls == [1, 2]
    for path in (tmp_path / "shared").iterdir():
        path.write_text("{half")
    assert folders[0].value("scan", ["key", 1], value(3)) == {"a": 3}
