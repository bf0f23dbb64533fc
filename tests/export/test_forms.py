import keras
import numpy as np
import pytest

from secateur.export import LiteModel, forms
from secateur.export.latency import Latency


def dense(units: int) -> keras.Model:
    inputs = keras.Input((4,), batch_size=1)
    return keras.Model(inputs, keras.layers.Dense(units)(inputs))


def test_the_fastest_form_of_each_layer(tmp_path, monkeypatch):
    """By a clock that counts bytes; layers of one key are measured once."""
    built = []

    def builder(units):
        built.append(units)
        return dense(units)

    monkeypatch.setattr(
        forms,
        "measure",
        lambda files, **_: {name: Latency(path.stat().st_size, 0, 0, 1, 1) for name, path in files.items()},
    )
    wide = {"small": lambda: builder(2), "large": lambda: builder(400)}
    narrow = {"large": lambda: builder(500), "one": lambda: builder(1)}
    found = forms.fastest_forms({"a": ("wide", wide), "b": ("narrow", narrow), "c": ("wide", wide)}, tmp_path)
    assert found["forms"] == {"a": "small", "b": "one", "c": "small"}
    assert sorted(built) == [1, 2, 400, 500]
    assert found["milliseconds"]["c"] == found["milliseconds"]["a"]
    assert found["milliseconds"]["b"]["large"] > found["milliseconds"]["b"]["one"]


def test_real_files_are_timed(tmp_path):
    found = forms.fastest_forms({"a": ("key", {"one": lambda: dense(3)})}, tmp_path)
    assert found["forms"] == {"a": "one"}
    assert found["milliseconds"]["a"]["one"] > 0


@pytest.mark.parametrize(("times", "expected"), [((1.0, 2.0), {}), ((2.0, 1.0), {"a": "wide"})])
def test_in_eight_bits_all_is_dense_where_that_is_faster(tmp_path, monkeypatch, times, expected):
    pictures, built = np.random.default_rng(0).integers(0, 256, (20, 4)).astype(np.float32), []

    def build(found):
        built.append(found)
        return dense(5 if found else 3)

    def timed(paths):
        outputs = [LiteModel(path).predict(pictures.astype(np.uint8)).shape[1] for path in paths.values()]
        assert outputs == [3, 5]
        assert {LiteModel(path)._input["dtype"] for path in paths.values()} == {np.uint8}
        return {name: Latency(ms, 0, 0, 1, 1) for name, ms in zip(paths, times, strict=True)}

    monkeypatch.setattr(forms, "measure", timed)
    found, whole = forms.forms_in_integers(build, {"a": "wide"}, pictures, tmp_path)
    assert found == expected
    assert whole == {"dense": times[0], "chosen": times[1]}
    assert built == [{}, {"a": "wide"}]


def test_in_eight_bits_dense_forms_stay_dense_without_a_clock(tmp_path):
    for chosen in ({}, {"a": "dense"}):
        assert forms.forms_in_integers(dense, chosen, np.zeros((1, 4)), tmp_path) == (chosen, {})
    assert not list(tmp_path.iterdir())
