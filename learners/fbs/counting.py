"""What a gated network computes for each picture, if it skips what is off.

A convolution reads only live channels and makes only winners; behind an addition lives what lives on either side,
behind a product what lives on both, behind a concatenation what lives in each part; norms, activations, pooling and
dropout pass liveness on; the predictors are counted.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable

import keras
import numpy as np
import tensorflow as tf

from secateur.learners.fbs.gated import inputs_of_gates
from secateur.learners.fbs.layers import ChannelPruning
from secateur.learners.fbs.ops import subsample
from secateur.learners.fbs.structure import keeps_zero
from secateur.pruning import cost, rules
from secateur.pruning.calls import Call, Record, record

# Which channels live, [N, C] bool; None: all of them.
Live = np.ndarray | None


@dataclasses.dataclass(frozen=True)
class Count:
    """Multiply-accumulates of a set of pictures.

    Attributes:
        per_picture: [N] of the whole network.
        layers: layer to {"macs": mean, "dense_macs", "read": mean share of live inputs, "made": of winners}.
        fired: gate to how often each channel fired for each class, [K, C].
        dynamic_share: gate to the share of its channels that win for some pictures, 1 to 99 % of them, and lose for the
            others; near 0 the choice is the same for all, and a static method would do.
    """

    per_picture: np.ndarray
    layers: dict[str, dict[str, float]]
    fired: dict[str, np.ndarray]
    dynamic_share: dict[str, float]


def count(model: keras.Model, batches: Iterable[tuple[tf.Tensor, tf.Tensor]], nb_classes: int) -> Count:
    """Count over the pictures of all batches.

    Args:
        model: gated, float32.
        batches: (images [N, H, W, C], labels [N]).
    """
    recorded = record(model)
    gates = {c.layer.name: c for c in recorded.calls if isinstance(c.layer, ChannelPruning)}
    passing = {c.layer.name for c in recorded.calls if isinstance(rules.find(c.layer), rules.Passes) and keeps_zero(c)}
    probe = inputs_of_gates(model)
    totals: list[np.ndarray] = []
    sums: dict[str, dict[str, float]] = {}
    fired = {name: np.zeros((nb_classes, call.layer.nb_channels)) for name, call in gates.items()}
    nb_of = np.zeros(nb_classes)
    for images, labels in batches:
        inputs = keras.tree.flatten(probe(images, training=False))
        read = zip(gates.items(), map(subsample, inputs), strict=True)
        on = {name: np.asarray(call.layer.gate(magnitudes)) > 0 for (name, call), magnitudes in read}
        rows = _layers(recorded, on, passing, len(labels))
        totals.append(np.sum([row["macs"] for row in rows.values()], axis=0))
        for name, row in rows.items():
            found = sums.setdefault(name, dict.fromkeys(row, 0.0))
            for key, value in row.items():
                found[key] += float(np.sum(value))
        np.add.at(nb_of, np.asarray(labels), 1)
        for name, mask in on.items():
            np.add.at(fired[name], np.asarray(labels), mask)
    per_picture = np.concatenate(totals)
    layers = {name: {key: value / len(per_picture) for key, value in row.items()} for name, row in sums.items()}
    shares = {name: f.sum(axis=0) / len(per_picture) for name, f in fired.items()}
    dynamic = {name: float(np.mean((share > 0.01) & (share < 0.99))) for name, share in shares.items()}
    by_class = {name: f / np.maximum(nb_of, 1)[:, None] for name, f in fired.items()}
    return Count(per_picture, layers, by_class, dynamic)


def _layers(
    recorded: Record, on: dict[str, np.ndarray], passing: set[str], nb_pictures: int
) -> dict[str, dict[str, np.ndarray]]:
    """By call the multiply-accumulates [N], those of the dense layer, the shares of channels read and made [N]."""
    live: dict[int, Live] = {id(t): None for t in recorded.inputs}
    rows: dict[str, dict[str, np.ndarray]] = {}
    times: Counter[str] = Counter()
    for call in recorded.calls:
        inputs = [live[id(t)] for t in call.inputs]
        made = on.get(call.layer.name)
        live |= {id(t): made if call.layer.name in on else _passed(call, inputs, passing) for t in call.outputs}
        dense = _dense_macs(call)
        if dense:
            read_share, made_share = _share(inputs[0], nb_pictures), _share(made, nb_pictures)
            macs = dense * read_share * made_share + _predictor_macs(call) * read_share
            row = {
                "macs": macs,
                "dense_macs": np.full(nb_pictures, float(dense)),
                "read": read_share,
                "made": made_share,
            }
            times[call.layer.name] += 1
            again = f" (call {times[call.layer.name]})" if times[call.layer.name] > 1 else ""
            rows[call.layer.name + again] = row
    return rows


def _share(live: Live, nb_pictures: int) -> np.ndarray:
    return np.ones(nb_pictures) if live is None else live.mean(axis=1)


def _passed(call: Call, inputs: list[Live], passing: set[str]) -> Live:
    """What lives behind a layer that is not gated; all channels where zeros come out as something else."""
    rule = rules.find(call.layer)
    known = [mask for mask in inputs if mask is not None]
    if isinstance(rule, rules.Joins):
        return _joined(call, inputs, len(known[0])) if known else None
    if isinstance(rule, rules.Merges):
        return _merged(call, known, rule.multiplies)
    # A norm over several channels makes something of those that are off.
    if call.layer.name not in passing or inputs[0] is None or rule.tie:
        return None
    flow = np.arange(inputs[0].shape[1])
    if rule.flow:
        flow = rule.flow(call.layer, flow, call.inputs[0].shape, call.outputs[0].shape)
    return None if flow is None else inputs[0][:, flow]


def _merged(call: Call, known: list[np.ndarray], multiplies: bool) -> Live:
    """What lives in all inputs of a product, else in any; one channel may stand for all, as in spatial attention."""
    if not known:
        return None
    live = np.broadcast_arrays(*known, np.empty(call.outputs[0].shape[-1]))[:-1]
    if multiplies:
        return np.logical_and.reduce(live)
    # With a constant beside one tensor, zeros become that constant.
    return np.logical_or.reduce(live) if 2 <= len(call.inputs) == len(known) else None


def _joined(call: Call, inputs: list[Live], nb_pictures: int) -> Live:
    """The parts of a concatenation beside each other, all channels where it joins along another axis."""
    if call.layer.axis not in (-1, len(call.outputs[0].shape) - 1):
        return None
    parts = zip(inputs, call.inputs, strict=True)
    return np.concatenate([np.ones((nb_pictures, t.shape[-1]), bool) if m is None else m for m, t in parts], axis=1)


def _dense_macs(call: Call) -> int:
    if not isinstance(call.layer, ChannelPruning):
        return cost.call_macs(call)
    kernel = call.layer.layers[0].kernel.shape
    return int(np.prod(kernel)) * int(np.prod(call.outputs[0].shape[1:-1]))


def _predictor_macs(call: Call) -> int:
    return int(np.prod(call.layer.phi.shape)) if isinstance(call.layer, ChannelPruning) else 0
