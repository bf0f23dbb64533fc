"""Residual blocks and ways around layers, found in the calls of a model and not in its names."""

from collections import Counter
from collections.abc import Collection, Sequence

import keras

from secateur.pruning import rules
from secateur.pruning.calls import Call, Record


def branch_convolutions(record: Record) -> list[str]:
    """The convolutions of the longest branch of every residual block, in the network's order.

    So neither the first convolution nor a projection on the way around is among them. In a network without additions
    they are all convolutions. Grouped convolutions, those called twice and the classifier are left out.
    """
    additions = [call for call in record.calls if is_addition(call)]
    chosen = {name for addition in additions for name in max(_branches(record, addition.inputs), key=len)}
    counts, last = calls_of(record), classifiers(record)
    plain = [call.layer.name for call in record.calls if is_plain(call.layer)]
    return [n for n in plain if (n in chosen or not additions) and counts[n] == 1 and n not in last]


def projections(record: Record) -> list[str]:
    """The convolutions on the shorter branches of residual blocks."""
    found = []
    for addition in filter(is_addition, record.calls):
        branches = _branches(record, addition.inputs)
        longest = max(branches, key=len)
        found += [name for branch in branches if branch is not longest for name in branch]
    return found


def classifiers(record: Record) -> list[str]:
    """The layers that make the channels of the model's outputs, also where a reshape or an activation follows them."""
    makers = {id(tensor): call for call in record.calls for tensor in call.outputs}
    waiting, found = [makers.get(id(tensor)) for tensor in record.outputs], []
    while waiting:
        call = waiting.pop()
        if call is None or call.layer.name in found:
            continue
        if rules.makes(call.layer):
            found.append(call.layer.name)
        else:
            waiting += [makers.get(id(tensor)) for tensor in call.inputs]
    return found


def dispensable(record: Record, names: Sequence[str]) -> list[str]:
    """Of these layers, as many as may give zeros at the same time: a way around all of them leads to an output.

    Earlier ones come first, so that of several branches side by side one stays.
    """
    found: list[str] = []
    for name in names:
        if leads_through(record, {*found, name}):
            found.append(name)
    return found


def leads_through(record: Record, dead: Collection[str]) -> bool:
    """Whether every output of the model depends on its input where these layers give zeros."""
    alive = {id(tensor) for tensor in record.inputs}
    for call in record.calls:
        if call.layer.name not in dead and any(id(tensor) in alive for tensor in call.inputs):
            alive |= {id(tensor) for tensor in call.outputs}
    return all(id(tensor) in alive for tensor in record.outputs)


def calls_of(record: Record) -> Counter[str]:
    """How often each layer is called."""
    return Counter(call.layer.name for call in record.calls)


def is_plain(layer: keras.layers.Layer) -> bool:
    """Whether a layer is a convolution in two dimensions, channels last, whose filters read all channels."""
    return type(layer) is keras.layers.Conv2D and layer.groups == 1 and layer.data_format == "channels_last"


def is_addition(call: Call) -> bool:
    """Whether a call adds several tensors up; `x + y` does too."""
    rule = rules.find(call.layer)
    return isinstance(rule, rules.Merges) and rule.sums and len(call.inputs) > 1


def _branches(record: Record, tensors: tuple[keras.KerasTensor, ...]) -> list[list[str]]:
    """The convolutions before each tensor, back to where its branch begins: at a tensor that several layers read."""
    makers = {id(t): call for call in record.calls for t in call.outputs}
    readers = Counter(id(t) for call in record.calls for t in call.inputs)
    branches = []
    for tensor in tensors:
        branch: list[str] = []
        most = 1
        while id(tensor) in makers and readers[id(tensor)] <= most:
            call = makers[id(tensor)]
            branch += [call.layer.name] if is_plain(call.layer) else []
            scaled = _scaled(call, readers)
            if len(call.inputs) > 1 and scaled is None:
                break
            tensor, most = (call.inputs[0], 1) if scaled is None else (scaled, 2)
        branches.append(branch)
    return branches


def _scaled(call: Call, readers: Counter[int]) -> keras.KerasTensor | None:
    """What a product scales by what is made of it: x of squeeze and excitation, of swish; None for other calls."""
    if len(call.inputs) != 2 or not isinstance(rules.find(call.layer), rules.Merges) or is_addition(call):
        return None
    twice = [tensor for tensor in call.inputs if readers[id(tensor)] == 2]
    return twice[0] if len(twice) == 1 else None
