"""From the bytes of a picture file to a crop of it; a JPEG is decoded only where the crop lies."""

from collections.abc import Callable

import tensorflow as tf

# Share of the shorter side that the evaluation's centre crop takes: 224 of 256.
CENTRE = 0.875


def centre_crop(contents: tf.Tensor, size: int) -> tf.Tensor:
    """The middle square, [size, size, 3] float32, values 0 to 255."""

    def window(shape: tf.Tensor) -> tf.Tensor:
        side = tf.cast(CENTRE * tf.cast(tf.reduce_min(shape), tf.float32), tf.int32)
        return tf.concat([(shape - side) // 2, [side, side]], axis=0)

    return _resized(_cut(contents, window), size, antialias=True)


def random_crop(contents: tf.Tensor, size: int, key: tf.Tensor, smallest_area: float = 0.08) -> tf.Tensor:
    """A crop of random area and aspect, half of them mirrored, [size, size, 3] float32.

    Args:
        key: two integers; the crop is a function of them.
        smallest_area: share of the picture; 0.08 is the usual choice for ILSVRC-12.
    """

    def window(shape: tf.Tensor) -> tf.Tensor:
        begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
            tf.concat([shape, [3]], axis=0),
            tf.zeros([0, 0, 4]),
            seed=key,
            aspect_ratio_range=(3 / 4, 4 / 3),
            area_range=(smallest_area, 1.0),
            use_image_if_no_bounding_boxes=True,
        )
        return tf.concat([begin[:2], extent[:2]], axis=0)

    return tf.image.stateless_random_flip_left_right(_resized(_cut(contents, window), size), key + 1)


def _cut(contents: tf.Tensor, window: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """The part of the picture that `window`, (height, width) to (top, left, height, width), chooses.

    Grey pictures get three equal channels; JPEGs in CMYK are converted by the decoder.
    """

    def jpeg() -> tf.Tensor:
        chosen = window(tf.io.extract_jpeg_shape(contents)[:2])
        # The fast transform differs from the exact one by at most a few grey levels.
        return tf.io.decode_and_crop_jpeg(contents, chosen, channels=3, dct_method="INTEGER_FAST")

    def other() -> tf.Tensor:
        image = tf.io.decode_image(contents, channels=3, expand_animations=False)
        top, left, height, width = tf.unstack(window(tf.shape(image)[:2]))
        return image[top : top + height, left : left + width]

    return tf.cond(tf.io.is_jpeg(contents), jpeg, other)


def _resized(image: tf.Tensor, size: int, antialias: bool = False) -> tf.Tensor:
    return tf.ensure_shape(tf.image.resize(image, [size, size], antialias=antialias), [size, size, 3])
