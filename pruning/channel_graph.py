"""Groups of channels that must be removed together."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np

from secateur.pruning import summary
from secateur.pruning.calls import functional, record
from secateur.pruning.flows import DisjointSets, Flows
from secateur.pruning.groups import ChannelGroup
from secateur.pruning.liveness import NotRemovable, State, states
from secateur.utils.errors import UsageError

# Group name to the ascending indices of the channels that stay; a group that is not named stays whole.
Keep = Mapping[str, Sequence[int]]


class ChannelGraph:
    """The channel groups of a functional model, by name in the order of the network.

    Args:
        model: functional or built Sequential, also with models inside; it is not changed.

    Attributes:
        model: the model as one flat functional graph; the same object where it is one already.
        groups: by name.

    Raises:
        UsageError: a model without a graph.
    """

    def __init__(self, model: keras.Model):
        self.model = functional(model)
        self.record = record(self.model)
        self.flows = Flows(self.record)
        self._place: dict[int, tuple[str, int]] = {}
        self.groups = self._collect()

    def summary(self, print_fn: Callable[[str], object] = print) -> None:
        """Print a line for each group: its width, its layers, whether channels can go and why not."""
        print_fn(summary.table(self.groups))

    def svg(self) -> str:
        """The groups as an SVG picture."""
        return summary.svg(self.groups, f"Channel groups of {self.model.name}")

    def removable(self, *groups: str) -> bool:
        """Whether all channels of these groups can go together, because a way around leads to the output."""
        numbers = {number for number, (name, _) in self._place.items() if name in groups}
        try:
            self.states(numbers)
        except NotRemovable:
            return False
        return all(self.groups[group].prunable for group in groups)

    def removed(self, keep: Keep) -> set[int]:
        """The channel numbers that go.

        Raises:
            UsageError: an unknown or unprunable group, indices out of range, repeated or not ascending, or so many
                channels gone that the output would not depend on the input.
        """
        for name, indices in keep.items():
            self._check(name, list(indices))
        kept = {name: set(indices) for name, indices in keep.items()}
        numbers = {n for n, (name, index) in self._place.items() if name in kept and index not in kept[name]}
        try:
            self.states(numbers)
        except NotRemovable as error:
            empty = [name for name, indices in kept.items() if not indices]
            raise UsageError(f"all channels of {', '.join(empty)} would go: {error}; keep at least one") from None
        return numbers

    def states(self, removed: set[int]) -> dict[int, State]:
        """What becomes of every tensor, by its id, without these channel numbers."""
        return states(self.record, self.flows.of, removed)

    def made(self, producer: str, keep: Keep) -> np.ndarray:
        """The output positions of a layer that stay under a plan, ascending."""
        return np.flatnonzero(~np.isin(self.flows.producers[producer], list(self.removed(keep))))

    def group_of(self, number: int) -> str:
        """The name of the group that a channel number belongs to; "" for channels that no layer here makes."""
        return self._place.get(number, ("", -1))[0]

    def positions(self, group: str, consumer: str) -> np.ndarray:
        """The channel of the group at each input position of a layer that reads it, -1 where another one's lies."""
        return self.places(group, self.flows.consumers[consumer])

    def places(self, group: str, flow: np.ndarray) -> np.ndarray:
        """The channel of the group behind each channel number of a flow, -1 for numbers of other groups."""
        found = [self._place.get(number, ("", -1)) for number in flow.tolist()]
        return np.array([index if name == group else -1 for name, index in found], int)

    def _check(self, name: str, indices: list[int]) -> None:
        if name not in self.groups:
            raise UsageError(f"no channel group {name}: the groups are {', '.join(self.groups)}")
        group = self.groups[name]
        if indices == list(range(group.size)):
            return
        if not group.prunable:
            raise UsageError(f"the channels of {name} must stay: {group.reason}")
        if indices != sorted(set(indices)) or any(not 0 <= index < group.size for index in indices):
            raise UsageError(f"channels {indices} of {name}: must be ascending, different and 0 to {group.size - 1}")

    def _collect(self) -> dict[str, ChannelGroup]:
        """Producers that share a channel number form a group; its channels are its numbers in order of appearance."""
        producers = self.flows.producers
        sets = DisjointSets()
        makers: dict[int, int] = {}
        for index, flow in zip(sets.new(len(producers)), producers.values(), strict=True):
            first = [makers.setdefault(number, index) for number in flow.tolist()]
            sets.join(np.array(first), np.full(len(first), index))
        together: dict[int, list[str]] = {}
        for root, name in zip(sets.roots(), producers, strict=True):
            together.setdefault(int(root), []).append(name)
        for names in together.values():
            numbers = dict.fromkeys(np.concatenate([producers[name] for name in names]).tolist())
            self._place |= {number: (names[0], k) for k, number in enumerate(numbers)}
        readers, members = self._touched(self.flows.consumers), self._touched(self.flows.members)
        summed = {self.group_of(number) for number in self.flows.summed.tolist()}
        sizes = Counter(name for name, _ in self._place.values())
        reasons: dict[str, str] = {}
        for number, reason in self.flows.reasons.items():
            reasons.setdefault(self.group_of(number), reason)
        return {
            names[0]: ChannelGroup(
                name=names[0],
                size=sizes[names[0]],
                producers=tuple(names),
                consumers=tuple(readers.get(names[0], ())),
                members=tuple(members.get(names[0], ())),
                prunable=names[0] not in reasons,
                reason=reasons.get(names[0], ""),
                passes_add=names[0] in summed,
            )
            for names in together.values()
        }

    def _touched(self, flows: Mapping[str, np.ndarray]) -> dict[str, list[str]]:
        """Group to the layers whose flow has one of its channels."""
        found: dict[str, list[str]] = {}
        for layer, flow in flows.items():
            for group in dict.fromkeys(self.group_of(number) for number in np.unique(flow).tolist()):
                found.setdefault(group, []).append(layer)
        return found
