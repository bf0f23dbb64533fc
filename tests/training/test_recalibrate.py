import keras
import numpy as np

from secateur.nets.resnet import resnet
from secateur.training.precision import to_training
from secateur.training.recalibrate import recalibrate

GENERATOR = np.random.default_rng(0)
BATCHES = [(GENERATOR.uniform(0, 255, (16, 8, 8, 1)).astype(np.float32), None) for _ in range(5)]


def test_statistics_are_the_mean_over_the_batches_and_weights_stay(randomise):
    model = to_training(randomise(resnet((8, 8, 1), 3, 8, (4, 6, 8))))
    trainable = [v.numpy() for v in model.trainable_variables]
    recalibrate(model, BATCHES)
    # The first norm sees the stem's output, which no other norm changes.
    features = keras.Model(model.input, model.get_layer("stem").output)
    moments = [(f.mean((0, 1, 2)), f.var((0, 1, 2))) for f in (np.asarray(features(x)) for x, _ in BATCHES)]
    norm = model.get_layer("stem_norm")
    np.testing.assert_allclose(norm.moving_mean, np.mean([m for m, _ in moments], axis=0), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(norm.moving_variance, np.mean([v for _, v in moments], axis=0), rtol=1e-3)
    assert norm.momentum == 0.9
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(trainable, model.trainable_variables, strict=True))
