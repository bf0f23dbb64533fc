import keras
import numpy as np
import pytest

from secateur.pruning.calls import functional, record, replaced, tensors, work_of

layers = keras.layers
PICTURES = np.random.default_rng(0).uniform(0, 1, (2, 6, 6, 3)).astype(np.float32)


def block(name: str) -> keras.Model:
    inputs = keras.Input((6, 6, 3))
    return keras.Model(inputs, layers.Conv2D(3, 3, padding="same", name="conv")(inputs), name=name)


def nested() -> keras.Model:
    inputs = keras.Input((6, 6, 3))
    first, second = block("first"), block("second")
    return keras.Model(inputs, layers.Add(name="sum")([second(first(inputs)), first(inputs)]))


def test_calls_are_in_the_order_of_the_graph():
    names = [call.layer.name for call in record(nested()).calls]
    assert set(names) == {"first_conv", "second_conv", "sum"}
    assert names.index("first_conv") < names.index("second_conv") < names.index("sum")
    assert len(names) == 4  # a model that is called twice is


def test_a_flat_copy_computes_the_same_with_weights_of_its_own(randomise):
    model = randomise(nested())
    flat = functional(model)
    np.testing.assert_allclose(flat(PICTURES), model(PICTURES), rtol=1e-5, atol=1e-5)
    assert not any(isinstance(layer, keras.Model) for layer in flat.layers)
    before = np.asarray(model(PICTURES))
    flat.set_weights([np.zeros_like(weight) for weight in flat.get_weights()])
    np.testing.assert_array_equal(model(PICTURES), before)


def test_a_model_that_is_flat_is_itself():
    model = block("plain")
    assert functional(model) is model


def test_a_sequential_becomes_functional(randomise):
    model = randomise(keras.Sequential([keras.Input((6, 6, 3)), layers.Conv2D(2, 3), layers.Flatten()]))
    assert not isinstance(functional(model), keras.Sequential)
    np.testing.assert_array_equal(functional(model)(PICTURES), model(PICTURES))


@pytest.mark.parametrize(
    ("other", "alike"),
    [
        (layers.Conv2D(4, 3, name="another"), True),
        (layers.Conv2D(4, 3, trainable=False), True),
        (layers.Conv2D(4, 3, strides=2), False),
        (layers.DepthwiseConv2D(3), False),
    ],
)
def test_what_does_the_same_work(other, alike):
    inputs = keras.Input((6, 6, 3))
    model = keras.Model(inputs, [layers.Conv2D(4, 3)(inputs), other(inputs)])
    one, two = (work_of(call) for call in record(model).calls)
    assert (one == two) is alike


def test_tensors_in_a_structure_are_found_and_exchanged():
    a, b = keras.Input((1,)), keras.Input((2,))
    structure = ([a, 3], {"b": b, "c": None})
    assert [id(t) for t in tensors(structure)] == [id(a), id(b)]
    assert replaced(structure, {id(a): "x", id(b): "y"}) == (["x", 3], {"b": "y", "c": None})
