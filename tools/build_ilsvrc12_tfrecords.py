"""Makes the TFRecord shards of ILSVRC-12 from its pictures.

    .venv/bin/python tools/build_ilsvrc12_tfrecords.py --train DIR --validation DIR --out DIR [--synsets FILE]

DIR holds one folder per class (named by its synset), or pictures whose names begin with the synset and an underscore.
The official validation pictures, whose names say no class, need --validation_synsets FILE: a synset for each, in the
order of their names. Started again after a kill the tool makes only the shards that are missing; counts.json, with
their sizes and checksums, comes last.
"""

import argparse
import functools
import hashlib
import json
import multiprocessing
import pathlib
import random
import sys

import tensorflow as tf
from tqdm import tqdm

from secateur.utils.files import write_atomically

SUFFIXES = (".jpeg", ".jpg", ".png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=pathlib.Path, required=True, help="the training pictures")
    parser.add_argument("--validation", type=pathlib.Path, required=True, help="the validation pictures")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="where the shards go")
    parser.add_argument("--synsets", type=pathlib.Path, help="synsets in label order (default: those found, sorted)")
    parser.add_argument("--validation_synsets", type=pathlib.Path, help="a synset per validation picture, by name")
    parser.add_argument("--train_shards", type=int, default=1024)
    parser.add_argument("--validation_shards", type=int, default=128)
    parser.add_argument("--processes", type=int, default=multiprocessing.cpu_count())
    args = parser.parse_args()
    sys.exit(build(args))


def build(args: argparse.Namespace) -> int:
    """Make all shards; 0, or 1 with one line on what is wrong."""
    parts = {"train": (args.train, args.train_shards), "validation": (args.validation, args.validation_shards)}
    found = {part: pictures(folder) for part, (folder, _) in parts.items()}
    for part, (folder, _) in parts.items():
        if not found[part]:
            print(
                f"error: no pictures in {folder}: folders named by synset, or names that begin with it", file=sys.stderr
            )
            return 1
    if args.validation_synsets:
        paths, given = [path for path, _ in found["validation"]], args.validation_synsets.read_text().split()
        if len(paths) != len(given):
            print(
                f"error: {len(given)} synsets in {args.validation_synsets} for {len(paths)} pictures", file=sys.stderr
            )
            return 1
        found["validation"] = list(zip(sorted(paths, key=lambda path: path.name), given, strict=True))
    synsets = args.synsets.read_text().split() if args.synsets else sorted({s for _, s in found["train"]})
    strange = sorted({s for rows in found.values() for _, s in rows} - set(synsets))
    if strange:
        print(
            f"error: {strange[0]} is not among the {len(synsets)} synsets: give the right --synsets, and "
            "--validation_synsets for pictures whose names do not begin with theirs",
            file=sys.stderr,
        )
        return 1
    args.out.mkdir(parents=True, exist_ok=True)
    label_of = {synset: k for k, synset in enumerate(synsets, start=1)}
    facts: dict = {"shards": {}}
    if not _same_plan(args.out / "plan", [[path.name, s] for rows in found.values() for path, s in rows], parts):
        print(f"error: the shards in {args.out} are of other pictures: choose another --out", file=sys.stderr)
        return 1
    for part, (_, nb_shards) in parts.items():
        rows = [(path, label_of[synset]) for path, synset in found[part]]
        random.Random(0).shuffle(rows)
        jobs = [(args.out / f"{part}-{k:05d}-of-{nb_shards:05d}", rows[k::nb_shards]) for k in range(nb_shards)]
        facts[part] = len(rows)
        facts["shards"] |= _write_all(jobs, args.processes, part)
    write_atomically(args.out / "labels.txt", "".join(f"{synset}\n" for synset in synsets).encode())
    write_atomically(args.out / "counts.json", json.dumps(facts, indent=1).encode())
    return 0


def _same_plan(path: pathlib.Path, rows: list, parts: dict) -> bool:
    """Whether what lies there was made from the same pictures into as many shards; remembers it at the first time."""
    plan = [rows, [number for _, number in parts.values()]]
    digest = hashlib.sha256(json.dumps(plan).encode()).hexdigest()
    if not path.is_file():
        write_atomically(path, digest.encode())
    return path.read_text() == digest


def pictures(folder: pathlib.Path) -> list[tuple[pathlib.Path, str]]:
    """All pictures below a folder with their synsets: the folder's name, or the beginning of their own."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    return [(path, path.name.split("_")[0] if path.parent == folder else path.parent.name) for path in paths]


def _write_all(jobs: list, processes: int, part: str) -> dict[str, dict]:
    """Shard name to its size and checksum."""
    # TensorFlow's threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with context.Pool(min(processes, len(jobs))) as pool:
        done = tqdm(pool.imap_unordered(functools.partial(_write), jobs), desc=part, total=len(jobs), unit="shard")
        return dict(sorted(done))


def _write(job: tuple[pathlib.Path, list]) -> tuple[str, dict]:
    """Write one shard unless it is there; its name, size and checksum."""
    path, rows = job
    if not path.is_file():
        records = path.with_name(f".{path.name}.part")
        with tf.io.TFRecordWriter(str(records)) as writer:
            for picture, label in rows:
                writer.write(_record(picture, label))
        records.replace(path)
    contents = path.read_bytes()
    return path.name, {"bytes": len(contents), "sha256": hashlib.sha256(contents).hexdigest()}


def _record(picture: pathlib.Path, label: int) -> bytes:
    feature = {
        "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[picture.read_bytes()])),
        "image/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
        "image/filename": tf.train.Feature(bytes_list=tf.train.BytesList(value=[picture.name.encode()])),
    }
    # Map entries have no order of their own; the same pictures shall give the same bytes.
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString(deterministic=True)


if __name__ == "__main__":
    main()
