import numpy as np
import pytest

from secateur.export import ALWAYS, FORMATS, check_equivalence, is_quantized, parse_formats
from secateur.nets.resnet import resnet

GENERATOR = np.random.default_rng(0)
PICTURES = GENERATOR.integers(0, 256, (8, 8, 8, 1)).astype(np.float32)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_passes_the_gate_and_replaces_an_older_file(randomise, tmp_path, name):
    old, model = (randomise(resnet((8, 8, 1), 3, 8, (4, 6, 8)), seed) for seed in (1, 0))
    kind, path = FORMATS[name], tmp_path / f"model{FORMATS[name].suffix}"
    for version in (old, model):
        kind.save(version, path, GENERATOR.integers(0, 256, (32, 8, 8, 1)).astype(np.float32))
    error = check_equivalence(
        name, np.asarray(model(PICTURES)), kind.logits(path, PICTURES), kind.tolerance, kind.quantile
    )
    assert 0 <= error < kind.tolerance
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_each_format_has_a_name_of_its_own():
    assert len({kind.suffix for kind in FORMATS.values()}) == len(FORMATS)


def test_lists_of_formats():
    assert parse_formats("") == ALWAYS
    assert parse_formats("pb, tflite_int8,pb") == ("keras", "tflite", "tflite_int8", "pb")
    with pytest.raises(ValueError, match="--export_formats onnx: unknown; the formats are keras, tflite, "):
        parse_formats("keras,onnx")


def test_only_quantized_forms_have_an_accuracy_of_their_own():
    assert [name for name in FORMATS if is_quantized(name)] == ["tflite_float16", "tflite_int8"]
