"""Residual blocks, found in the calls of a model and not in its names."""

from collections import Counter

import keras

from secateur.pruning.calls import Record


def branch_convolutions(record: Record) -> list[str]:
    """The convolutions of the longest branch of every residual block, in the network's order.

    So neither the first convolution nor a projection on the way around is among them. In a network without additions
    they are all convolutions. Grouped convolutions and those with a bias are left out.
    """
    additions = [call for call in record.calls if isinstance(call.layer, keras.layers.Add)]
    chosen = {name for addition in additions for name in max(_branches(record, addition.inputs), key=len)}
    plain = [call.layer.name for call in record.calls if _is_plain(call.layer)]
    return [name for name in plain if name in chosen or not additions]


def projections(record: Record) -> list[str]:
    """The convolutions on the shorter branches of residual blocks."""
    additions = [call for call in record.calls if isinstance(call.layer, keras.layers.Add)]
    found = []
    for addition in additions:
        branches = _branches(record, addition.inputs)
        longest = max(branches, key=len)
        found += [name for branch in branches if branch is not longest for name in branch]
    return found


def _is_plain(layer: keras.layers.Layer) -> bool:
    return type(layer) is keras.layers.Conv2D and layer.groups == 1 and layer.bias is None


def _branches(record: Record, tensors: tuple[keras.KerasTensor, ...]) -> list[list[str]]:
    """The convolutions before each tensor, back to where its branch begins: at a tensor that several layers read."""
    makers = {id(t): call for call in record.calls for t in call.outputs}
    readers = Counter(id(t) for call in record.calls for t in call.inputs)
    branches = []
    for tensor in tensors:
        branch: list[str] = []
        while id(tensor) in makers and readers[id(tensor)] == 1 and len(makers[id(tensor)].inputs) == 1:
            call = makers[id(tensor)]
            branch += [call.layer.name] if _is_plain(call.layer) else []
            (tensor,) = call.inputs
        branches.append(branch)
    return branches
