"""Analysing and pruning a ResNet-50, against Torch-Pruning (part of `peers.py`)."""

import importlib.util
import os
import statistics
import time
from collections.abc import Callable

import numpy as np

from secateur.learners.chn_pruned import ops
from secateur.learners.chn_pruned.criteria import scores_of
from secateur.nets.resnet import resnet_ilsvrc12
from secateur.pruning import ChannelGraph, cost, shrink

RATIO, ROUNDS = 0.5, 5
# Seconds of analysis and of pruning, share of the MACs left.
Turn = tuple[float, float, float]


def ours() -> Callable[[], Turn]:
    """Read the graph; then rank the channels of every group by L1 norm and remove the lower half."""
    model = resnet_ilsvrc12(50)

    def turn() -> Turn:
        begin = time.perf_counter()
        graph = ChannelGraph(model)
        middle = time.perf_counter()
        groups = [group for group in graph.groups.values() if group.prunable]
        scores = scores_of("l1", graph, groups, None, None, 0)
        keep = {g.name: ops.best(np.asarray(scores[g.name]), g.size - int(RATIO * g.size)) for g in groups}
        small = shrink(graph, keep)
        end = time.perf_counter()
        return middle - begin, end - middle, cost.macs(small) / cost.macs(model)

    return turn


def torch_pruning() -> Callable[[], Turn]:
    """The same by Torch-Pruning, which ranks when it prunes; a fresh network each time, as it prunes in place."""
    import torch
    import torch_pruning as tp
    import torchvision

    torch.set_num_threads(os.cpu_count() or 1)
    example = torch.zeros(1, 3, 224, 224)

    def turn() -> Turn:
        model = torchvision.models.resnet50(weights=None).eval()
        dense, _ = tp.utils.count_ops_and_params(model, example)
        begin = time.perf_counter()
        pruner = tp.pruner.MagnitudePruner(
            model,
            example,
            importance=tp.importance.MagnitudeImportance(p=1),
            pruning_ratio=RATIO,
            ignored_layers=[model.fc],
        )
        middle = time.perf_counter()
        pruner.step()
        end = time.perf_counter()
        return middle - begin, end - middle, tp.utils.count_ops_and_params(model, example)[0] / dense

    return turn


def measured() -> dict[str, dict]:
    """Medians of both, which take turns; the first turn of each is not counted."""
    contenders = {"secateur": ours()}
    if importlib.util.find_spec("torch_pruning") and importlib.util.find_spec("torchvision"):
        contenders["Torch-Pruning"] = torch_pruning()
    else:
        print("ResNet-50, Torch-Pruning: not installed")
    turns: dict[str, list[Turn]] = {name: [] for name in contenders}
    for _ in range(1 + ROUNDS):
        for name, turn in contenders.items():
            turns[name].append(turn())
    found = {}
    for name, rows in turns.items():
        analysis, pruning, left = (statistics.median(column) for column in zip(*rows[1:], strict=True))
        found[name] = {"analysis": analysis, "pruning": pruning, "macs_left": left, "turns": rows}
        print(f"ResNet-50, {name}: analysis {analysis:.2f} s, ranking and pruning {pruning:.2f} s, "
              f"{100 * left:.1f} % of the MACs left")  # fmt: skip
    return found
