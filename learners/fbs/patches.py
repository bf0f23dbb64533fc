"""A convolution whose filters are no constants, as a product of matrices, which LiteRT delegates."""

import itertools
from typing import Any

import keras

ops = keras.ops

# Patches of more bytes are no longer in any cache when they are read; then they are made in strips of so many.
LARGE, STRIP = 32e6, 1e6


def product(convolution: keras.layers.Conv2D, x: Any, columns: Any) -> tuple[Any, int, int]:
    """What the filters [1, K K C, k] make of an input, [1, H W, k], and H and W; strip by strip."""
    kernel, (stride, _) = convolution.kernel_size, convolution.strides
    if convolution.padding == "same":
        pads = [_same(size, one, stride) for size, one in zip(x.shape[1:3], kernel, strict=True)]
        if any(sum(pair) for pair in pads):
            x = ops.pad(x, ((0, 0), *pads, (0, 0)))
    height, width = ((size - one) // stride + 1 for size, one in zip(x.shape[1:3], kernel, strict=True))
    nb_bytes = 4 * height * width * columns.shape[1]
    nb_strips = min(round(nb_bytes / STRIP) or 1, height) if nb_bytes > LARGE else 1
    ends = [height * k // nb_strips for k in range(nb_strips + 1)]
    parts = [ops.matmul(_patches(x, kernel, stride, rows, width), columns) for rows in itertools.pairwise(ends)]
    return ops.concatenate(parts, axis=1) if len(parts) > 1 else parts[0], height, width


def _patches(x: Any, kernel: tuple[int, int], stride: int, rows: tuple[int, int], width: int) -> Any:
    """What each place of some rows of the output reads, [1, H W, K K C], position after position."""
    first, last = rows[0] * stride, (rows[1] - 1) * stride + 1
    parts = [
        x[:, first + i : last + i : stride, j : j + (width - 1) * stride + 1 : stride]
        for i, j in itertools.product(range(kernel[0]), range(kernel[1]))
    ]
    joined = ops.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]
    return ops.reshape(joined, (1, (rows[1] - rows[0]) * width, joined.shape[-1]))


def _same(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's padding "same": more behind than before where it is odd."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2
