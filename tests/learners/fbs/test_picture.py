import numpy as np

from secateur.learners.fbs.picture import fired_svg


def test_a_row_for_each_class_and_a_shade_for_each_share():
    text = fired_svg({"gate": np.array([[0.0, 1.0], [0.5, 0.04]])}, ["cat", "<dog>"])
    assert text.count("<path") == 2
    assert 'fill-opacity="1"' in text
    assert 'fill-opacity="0.5"' in text
    assert text.count("h6v6h-6z") == 2
    assert "&lt;dog&gt;" in text
    assert "first" not in text


def test_many_classes_and_channels_stay_a_small_file_that_says_what_is_left_out():
    generator = np.random.default_rng(0)
    fired = {f"gate{k}": np.tile(generator.uniform(size=512), (1000, 1)) for k in range(20)}
    fired["gate3"][[7, 900]] = generator.uniform(size=(2, 512))
    text = fired_svg(fired, [f"class {k}" for k in range(1000)])
    assert len(text) < 2e6
    assert "class 7<" in text
    assert "class 900<" in text
    assert text.count("first 121 of 512 channels") == 20
    assert "20 of 1000, those that differ most" in text
