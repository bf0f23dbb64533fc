import keras

from secateur.export import forms
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
