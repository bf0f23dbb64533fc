"""Exact forms of a convolution with dead stripes, of stock Keras layers that LiteRT delegates.

Differs from the released code: it gathers, shifts and scatters S feature maps, which is slower than the dense kernel.
Here a 1x1 convolution makes the S maps, a depthwise convolution with a single 1 in each kernel shifts them, and a 1x1
convolution of ones adds them up; or filters of one bounding box form a convolution with a smaller kernel; or the live
filters alone are computed.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from secateur.export.forms import DENSE, narrowed, spread, with_weights
from secateur.pruning.copies import new_layer

# A tensor to the layer's output.
Form = Callable[[Any], Any]
FILTERS, STRIPES, BOXES = "filters", "stripes", "boxes"


def live_stripes(kernel_KxKxIxO: np.ndarray) -> np.ndarray:
    """Which stripes of a kernel are not all zero, [K, K, O] bool."""
    return np.any(kernel_KxKxIxO != 0, axis=2)


def forms_of(layer: keras.layers.Conv2D) -> dict[str, Form]:
    """Every form that a layer can take; the dense one alone if nothing of it is dead.

    Args:
        layer: built, not grouped, not dilated in the other forms.
    """
    live = live_stripes(layer.kernel.numpy())
    found: dict[str, Form] = {DENSE: lambda x: narrowed(layer, x)}
    if live.all() or not live.any() or layer.dilation_rate != (1, 1) or layer.groups > 1:
        return found
    filters, boxes = live.any(axis=(0, 1)), _boxes(live)
    if not filters.all():
        found[FILTERS] = lambda x: narrowed(layer, x, made=filters)
    # LiteRT and TensorFlow know depthwise convolutions of equal strides only.
    if layer.kernel_size != (1, 1) and layer.strides[0] == layer.strides[1]:
        found[STRIPES] = lambda x: stripe_form(layer, x)
    if layer.strides == (1, 1) and layer.padding == "same" and set(boxes) != {layer.kernel_size}:
        found[BOXES] = lambda x: box_form(layer, x)
    return found


def stripe_form(layer: keras.layers.Conv2D, x: Any) -> Any:
    """All live stripes as a 1x1 convolution, shifted, summed.

    out[y, x, o] = sum over live (i, j, o) of W[i, j, :, o] . padded[s y + i, s x + j], and the depthwise convolution
    pads and strides just as the dense kernel does, so it is exact for every stride, padding and size.
    """
    kernel = layer.kernel.numpy()
    rows, columns, filters = np.nonzero(live_stripes(kernel))
    nb_stripes = len(filters)
    maps = kernel[rows, columns, :, filters].T[None, None]
    shifts = np.zeros((*kernel.shape[:2], nb_stripes, 1), np.float32)
    shifts[rows, columns, np.arange(nb_stripes), 0] = 1.0
    x = with_weights(keras.layers.Conv2D(nb_stripes, 1, use_bias=False, name=f"{layer.name}_stripes"), x, [maps])
    shift = keras.layers.DepthwiseConv2D(
        layer.kernel_size, layer.strides, layer.padding, use_bias=False, name=f"{layer.name}_shift"
    )
    return spread(layer, with_weights(shift, x, [shifts]), filters, "sum")


def box_form(layer: keras.layers.Conv2D, x: Any) -> Any:
    """Filters of one centred bounding box (1x1, 1x3, 3x1, …) as a convolution with a kernel of that size.

    A last 1x1 convolution brings the filters back into their order; where there is one box and no dead filter it is
    left out.
    """
    kernel = layer.kernel.numpy()
    boxes = _boxes(live_stripes(kernel))
    cuts = [_cut(kernel[..., filters], box) for box, filters in boxes.items()]
    order = [number for filters in boxes.values() for number in filters]
    if len(boxes) == 1 and len(order) == kernel.shape[-1]:
        (box,) = boxes
        return with_weights(new_layer(layer, kernel_size=box), x, [*cuts, *layer.get_weights()[1:]])
    parts = []
    for box, cut in zip(boxes, cuts, strict=True):
        name = f"{layer.name}_{box[0]}x{box[1]}"
        part = keras.layers.Conv2D(cut.shape[-1], box, padding="same", use_bias=False, name=name)
        parts.append(with_weights(part, x, [cut]))
    joined = keras.layers.Concatenate(name=f"{layer.name}_joined")(parts) if len(parts) > 1 else parts[0]
    return spread(layer, joined, np.array(order), "sum")


def _cut(kernel: np.ndarray, box: tuple[int, int]) -> np.ndarray:
    """The middle of a kernel."""
    for axis, size in enumerate(box):
        # SAME pads (size - 1) // 2 in front, for even sizes too.
        first = (kernel.shape[axis] - 1) // 2 - (size - 1) // 2
        kernel = np.take(kernel, range(first, first + size), axis)
    return kernel


def _boxes(live: np.ndarray) -> dict[tuple[int, int], list[int]]:
    """The smallest centred box around its live stripes to the filters that have it; dead filters are left out."""
    found: dict[tuple[int, int], list[int]] = {}
    for number in range(live.shape[-1]):
        rows, columns = np.nonzero(live[:, :, number])
        if len(rows):
            ends = [(places, size) for places, size in zip((rows, columns), live.shape[:2], strict=True)]
            height, width = (1 + 2 * int(np.abs(places - (size - 1) // 2).max()) for places, size in ends)
            found.setdefault((min(height, live.shape[0]), min(width, live.shape[1])), []).append(number)
    return found
