import io

import numpy as np
import pytest
import tensorflow as tf

from secateur.datasets.crops import centre_crop


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_colours_of_every_mode(mode):
    """A red, or grey, picture as the decoder of ILSVRC-12's pictures gives it; some of those are CMYK."""
    image = pytest.importorskip("PIL.Image")
    colour = {"RGB": (200, 40, 40), "L": 90, "CMYK": (55, 215, 215, 0)}[mode]
    buffer = io.BytesIO()
    image.new(mode, (40, 40), colour).save(buffer, "JPEG", quality=95)
    found = np.asarray(centre_crop(tf.constant(buffer.getvalue()), 16))[8, 8]
    expected = (90, 90, 90) if mode == "L" else (200, 40, 40)
    np.testing.assert_allclose(found, expected, atol=12)
