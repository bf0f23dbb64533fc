"""ILSVRC-12 as TFRecord shards: train-00000-of-01024 …, validation-00000-of-00128 …

`tools/build_ilsvrc12_tfrecords.py` makes them; shards that others made in this form are read too.
"""

import hashlib
import json
import pathlib

from secateur.datasets.records import RecordDataset
from secateur.utils.errors import RunError

COUNTS, TOOL = "counts.json", "tools/build_ilsvrc12_tfrecords.py"
# Of the complete set, for shards without a counts.json.
COMPLETE = {"train": (1024, 1_281_167), "validation": (128, 50_000)}
NB_CLASSES = 1000

Shards = dict[str, list[pathlib.Path]]


def load(directory: pathlib.Path | None, image_size: int = 224) -> RecordDataset:
    """Find the shards in a folder.

    Raises:
        RunError: no folder named, no shards in it, some missing, or their number of records is not known.
    """
    if directory is None:
        raise RunError(
            "no ILSVRC-12 shards named: give --data_dir_local DIR, or data_dir_local_ilsvrc12 = DIR in path.conf "
            f"({TOOL} makes them)"
        )
    shards = {part: _shards(directory, part) for part in COMPLETE}
    counts, sizes = _facts(directory, shards)
    found = {path.name: path.stat().st_size for part in shards.values() for path in part}
    for name, size in found.items():
        if sizes.get(name, size) != size:
            raise RunError(
                f"{directory / name} has {size} bytes, {sizes[name]} when it was made: delete it and make it again"
            )
    return RecordDataset(
        name="ILSVRC-12",
        labels=_labels(directory),
        train_shards=[str(path) for path in shards["train"]],
        test_shards=[str(path) for path in shards["validation"]],
        nb_train=counts["train"],
        nb_test=counts["validation"],
        image_size=image_size,
        sha256=_digest({"files": found, "counts": counts}),
    )


def _shards(directory: pathlib.Path, part: str) -> list[pathlib.Path]:
    """All shards of a part, in order, none missing."""
    found = sorted(directory.glob(f"{part}-?????-of-?????"))
    if not found:
        raise RunError(f"no {part}-*-of-* in {directory}: name the folder of the TFRecord shards with --data_dir_local")
    total = int(found[0].name.rsplit("-", 1)[1])
    expected = [directory / f"{part}-{k:05d}-of-{total:05d}" for k in range(total)]
    missing = [path.name for path in expected if not path.is_file()]
    if missing:
        raise RunError(
            f"{len(missing)} of {total} shards are missing in {directory}, {missing[0]} first: make them again"
        )
    return expected


def _facts(directory: pathlib.Path, shards: Shards) -> tuple[dict[str, int], dict[str, int]]:
    """Records of each part and bytes of each shard, as counts.json says; else the records of the complete set."""
    path = directory / COUNTS
    if path.is_file():
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            sizes = {name: int(shard["bytes"]) for name, shard in facts.get("shards", {}).items()}
            return {part: int(facts[part]) for part in COMPLETE}, sizes
        except (ValueError, LookupError, TypeError, AttributeError):
            raise RunError(f"{path} is damaged: delete it and run {TOOL} again, which keeps the shards") from None
    if all(len(shards[part]) == number for part, (number, _) in COMPLETE.items()):
        return {part: count for part, (_, count) in COMPLETE.items()}, {}
    raise RunError(f"no {COUNTS} in {directory}, and the shards are not the complete set: make them again with {TOOL}")


def _labels(directory: pathlib.Path) -> list[str]:
    path = directory / "labels.txt"
    return path.read_text(encoding="utf-8").split() if path.is_file() else [str(k) for k in range(NB_CLASSES)]


def _digest(facts: dict) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
