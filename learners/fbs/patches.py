"""A convolution whose filters are no constants, as products of matrices, which LiteRT delegates."""

import itertools
from typing import Any

import keras

ops = keras.ops

# Patches of more bytes are in no cache when they are read; then they are made in strips of so many.
LARGE, STRIP = 8e6, 2e6
# Rows that a single strip computes for the rows above and below alone, as a share of all, for less to be copied.
MOST_MORE = 0.07


def product(convolution: keras.layers.Conv2D, x: Any, columns: Any) -> tuple[Any, int, int]:
    """What the filters [1, K K C, k] make of an input, [1, H W, k], and H and W; strip by strip."""
    kernel, (stride, _) = convolution.kernel_size, convolution.strides
    same = convolution.padding == "same"
    frames = [_framed(size, one, stride, same) for size, one in zip(x.shape[1:3], kernel, strict=True)]
    (height, *_), (width, *_) = frames
    x = _blocks(x, [pads for _, *pads in frames], stride)
    form = _by_rows if _goes_by_rows(kernel, stride, height) else _by_patches
    nb_strips = _nb_strips(convolution, height, width, columns.shape[1])
    ends = [height * k // nb_strips for k in range(nb_strips + 1)]
    parts = [form(x, kernel, stride, rows, width, columns) for rows in itertools.pairwise(ends)]
    return ops.concatenate(parts, axis=1) if len(parts) > 1 else parts[0], height, width


def nb_rows(convolution: keras.layers.Conv2D, height: int, width: int, nb_live: int) -> int:
    """How many rows are computed for an output of so many, from so many live inputs."""
    kernel, (stride, _) = convolution.kernel_size, convolution.strides
    if not _goes_by_rows(kernel, stride, height):
        return height
    return height + (kernel[0] - 1) * _nb_strips(convolution, height, width, kernel[0] * kernel[1] * nb_live)


def _nb_strips(convolution: keras.layers.Conv2D, height: int, width: int, nb_columns: int) -> int:
    """How many strips the patches are made in.

    Args:
        nb_columns: numbers of a patch, K K C.
    """
    kernel, (stride, _) = convolution.kernel_size, convolution.strides
    nb_bytes = 4 * height * width * nb_columns / (kernel[0] if _goes_by_rows(kernel, stride, height) else 1)
    return min(round(nb_bytes / STRIP) or 1, height) if nb_bytes > LARGE else 1


def _goes_by_rows(kernel: tuple[int, int], stride: int, height: int) -> bool:
    return stride == 1 and 0 < kernel[0] - 1 <= MOST_MORE * height


def _by_patches(x: Any, kernel: tuple[int, int], stride: int, rows: tuple[int, int], width: int, columns: Any) -> Any:
    """Some rows of the output, [1, H W, k]: what each of their places reads, position after position, by the filters.

    Args:
        x: in blocks.
        rows: the first one, and the one behind the last.
    """
    nb_channels = x.shape[-1] // stride
    parts = []
    for i, j in itertools.product(range(kernel[0]), range(kernel[1])):
        (down, row), (right, column) = divmod(i, stride), divmod(j, stride)
        channels = slice(column * nb_channels, (column + 1) * nb_channels)
        parts.append(x[rows[0] + down : rows[1] + down, row : row + 1, right : right + width, channels])
    joined = _joined(parts)
    return ops.matmul(ops.reshape(joined, (1, (rows[1] - rows[0]) * width, joined.shape[-1])), columns)


def _by_rows(x: Any, kernel: tuple[int, int], stride: int, rows: tuple[int, int], width: int, columns: Any) -> Any:
    """As `_by_patches`, for steps of 1: each row of the kernel on all rows of the input, then their sum.

    It copies the input as often as the kernel is wide, and not as often as it has positions.
    """
    height, nb_made = rows[1] - rows[0], columns.shape[-1]
    joined = _joined([x[rows[0] : rows[1] + kernel[0] - 1, :, j : j + width] for j in range(kernel[1])])
    nb_read = joined.shape[-1]
    columns = ops.transpose(ops.reshape(columns, (kernel[0], nb_read, nb_made)), (1, 0, 2))
    columns = ops.reshape(columns, (1, nb_read, kernel[0] * nb_made))
    made = ops.matmul(ops.reshape(joined, (1, (height + kernel[0] - 1) * width, nb_read)), columns)
    made = ops.reshape(made, (height + kernel[0] - 1, width, kernel[0] * nb_made))
    total = made[:height, :, :nb_made]
    for i in range(1, kernel[0]):
        total = ops.add(total, made[i : i + height, :, i * nb_made : (i + 1) * nb_made])
    return ops.reshape(total, (1, height * width, nb_made))


def _joined(parts: list[Any]) -> Any:
    return ops.concatenate(parts, axis=-1) if len(parts) > 1 else parts[0]


def _blocks(x: Any, pads: list[list[int]], stride: int) -> Any:
    """The framed input in blocks as large as a step of the kernel, [H / S, S, W / S, S C].

    A step is then to the next block: LiteRT delegates slices of neighbours, and not those that leave some out.
    """
    if any(max(pair) > 0 for pair in pads):
        x = ops.pad(x, ((0, 0), *[[max(pad, 0) for pad in pair] for pair in pads], (0, 0)))
    height, width = (size + min(behind, 0) for size, (_, behind) in zip(x.shape[1:3], pads, strict=True))
    if (height, width) != tuple(x.shape[1:3]):
        x = x[:, :height, :width]
    return ops.reshape(x, (height // stride, stride, width // stride, stride * x.shape[-1]))


def _framed(size: int, kernel: int, stride: int, same: bool) -> tuple[int, int, int]:
    """How many places the output has, and what is put before and behind (below 0: left out) to make whole blocks.

    TensorFlow's padding "same" puts more behind than before where it is odd.
    """
    made = -(-size // stride) if same else (size - kernel) // stride + 1
    before = max((made - 1) * stride + kernel - size, 0) // 2 if same else 0
    return made, before, stride * (made + (kernel - 1) // stride) - size - before
