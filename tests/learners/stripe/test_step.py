import keras
import numpy as np
import tensorflow as tf

from secateur.learners.stripe.skeletons import Skeletons
from secateur.learners.stripe.step import stripe_step
from secateur.nets.resnet import resnet
from secateur.pruning import ChannelGraph
from secateur.training.precision import to_training


def test_decay_acts_on_all_that_is_trained_and_the_l1_norm_on_stripes_that_may_die(randomise):
    """Of a loss that says nothing."""
    dense = randomise(resnet((8, 8, 1), 3, 8, (4, 6, 8)))
    model = to_training(dense)
    skeletons = Skeletons(ChannelGraph(dense), model, from_norms=True)
    before = {name: variable.numpy() for name, variable in skeletons.of.items()}
    scale = model.get_layer("stem_norm").gamma.numpy()
    step = stripe_step(
        model,
        skeletons,
        model.trainable_variables,
        keras.optimizers.SGD(0.5),
        lambda labels, logits: 0.0 * tf.reduce_sum(logits),
        0.1,
        keras.Variable(0.01, trainable=False),
        0.0,
    )
    step(tf.zeros((2, 8, 8, 1)), tf.zeros((2,), tf.int32))
    np.testing.assert_allclose(model.get_layer("stem_norm").gamma, scale * (1 - 0.5 * 0.1), rtol=1e-5)
    for name, variable in skeletons.of.items():
        l1 = 0.01 if name in skeletons.layers else 0.0
        expected = before[name] - 0.5 * (0.1 * before[name] + l1 * np.sign(before[name]))
        alive = variable.numpy() != 0
        np.testing.assert_allclose(variable.numpy()[alive], expected[alive], rtol=1e-4)
        assert alive.mean() > 0.9
    assert {"stem", "stage2_block1_conv1"} < set(skeletons.layers)
    assert "stage2_block1_shortcut" not in skeletons.layers
