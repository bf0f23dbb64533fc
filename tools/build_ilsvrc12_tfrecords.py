"""Makes the TFRecord shards of ILSVRC-12 from its pictures.

    .venv/bin/python tools/build_ilsvrc12_tfrecords.py --train DIR --validation DIR --out DIR [--synsets FILE]

DIR holds one folder per class (named by its synset), or pictures whose names begin with the synset and an underscore.
The official validation pictures, whose names say no class, need --validation_synsets FILE: a synset for each, in the
order of their names. Of each line in such a file the first word counts. Started again after a kill the tool makes only
the shards that are missing; counts.json, with their sizes and checksums, comes last.
"""

import argparse
import hashlib
import json
import multiprocessing
import pathlib
import random
import signal
import sys

import tensorflow as tf
from tqdm import tqdm

from secateur.utils.errors import RunError
from secateur.utils.files import write_atomically

SUFFIXES = (".jpeg", ".jpg", ".png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", type=pathlib.Path, required=True, help="the training pictures")
    parser.add_argument("--validation", type=pathlib.Path, required=True, help="the validation pictures")
    parser.add_argument("--out", type=pathlib.Path, required=True, help="where the shards go")
    parser.add_argument("--synsets", type=pathlib.Path, help="synsets in label order (default: those found, sorted)")
    parser.add_argument("--validation_synsets", type=pathlib.Path, help="a synset per validation picture, by name")
    parser.add_argument("--train_shards", type=at_least_one, default=1024)
    parser.add_argument("--validation_shards", type=at_least_one, default=128)
    parser.add_argument("--processes", type=at_least_one, default=multiprocessing.cpu_count())
    args = parser.parse_args()
    try:
        build(args)
    except (RunError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted: the same command makes the shards that are missing", file=sys.stderr)
        sys.exit(130)


def at_least_one(text: str) -> int:
    """A number of things, read from the command line."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number of 1 or more")
    return int(text)


def build(args: argparse.Namespace) -> None:
    """Make all shards.

    Raises:
        RunError: no pictures, pictures of unknown classes, other shards in the folder, or something cannot be read.
    """
    parts = {"train": (args.train, args.train_shards), "validation": (args.validation, args.validation_shards)}
    found = {part: pictures(folder) for part, (folder, _) in parts.items()}
    if args.validation_synsets:
        found["validation"] = _with_synsets(found["validation"], args.validation_synsets)
    synsets = _synsets(args.synsets) if args.synsets else sorted({s for _, s in found["train"]})
    strange = sorted({s for rows in found.values() for _, s in rows} - set(synsets))
    if strange:
        raise RunError(
            f"{strange[0]} is not among the {len(synsets)} synsets: give the right --synsets, and "
            "--validation_synsets for pictures whose names do not begin with theirs"
        )
    args.out.mkdir(parents=True, exist_ok=True)
    if not _same_plan(args.out / "plan", [[path.name, s] for rows in found.values() for path, s in rows], parts):
        raise RunError(f"the shards in {args.out} are of other pictures: choose another --out")
    label_of = {synset: k for k, synset in enumerate(synsets, start=1)}
    jobs = []
    for part, (_, nb_shards) in parts.items():
        rows = [(path, label_of[synset]) for path, synset in found[part]]
        random.Random(0).shuffle(rows)
        jobs += [(args.out / f"{part}-{k:05d}-of-{nb_shards:05d}", rows[k::nb_shards]) for k in range(nb_shards)]
    facts = {"shards": _write_all(jobs, args.processes)} | {part: len(rows) for part, rows in found.items()}
    write_atomically(args.out / "labels.txt", "".join(f"{synset}\n" for synset in synsets).encode())
    write_atomically(args.out / "counts.json", json.dumps(facts, indent=1).encode())


def pictures(folder: pathlib.Path) -> list[tuple[pathlib.Path, str]]:
    """All pictures below a folder with their synsets: the folder's name, or the beginning of their own."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise RunError(f"no pictures in {folder}: folders named by synset, or names that begin with it")
    return [(path, path.name.split("_")[0] if path.parent == folder else path.parent.name) for path in paths]


def _with_synsets(rows: list, file: pathlib.Path) -> list[tuple[pathlib.Path, str]]:
    """Pictures in the order of their names with the synsets of a file."""
    paths, given = sorted((path for path, _ in rows), key=lambda path: path.name), _synsets(file)
    if len(paths) != len(given):
        raise RunError(f"{len(given)} synsets in {file} for {len(paths)} pictures: there must be a line for each")
    return list(zip(paths, given, strict=True))


def _synsets(file: pathlib.Path) -> list[str]:
    """The first word of every line."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(
            f"{file} cannot be read ({getattr(error, 'strerror', error)}): name a text file with a synset on every line"
        ) from error
    return [line.split()[0] for line in lines if line.strip()]


def _same_plan(path: pathlib.Path, rows: list, parts: dict) -> bool:
    """Whether what lies there was made from the same pictures into as many shards; remembers it at the first time."""
    plan = [rows, [number for _, number in parts.values()]]
    digest = hashlib.sha256(json.dumps(plan).encode()).hexdigest()
    if not path.is_file():
        write_atomically(path, digest.encode())
    return path.read_text() == digest


def _write_all(jobs: list, processes: int) -> dict[str, dict]:
    """Shard name to its size and checksum."""
    # TensorFlow's threads do not survive a fork. Ctrl-C is for the main process alone.
    context = multiprocessing.get_context("spawn")
    with context.Pool(min(processes, len(jobs)), signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:
        return dict(sorted(tqdm(pool.imap_unordered(write_shard, jobs), total=len(jobs), unit="shard")))


def write_shard(job: tuple[pathlib.Path, list]) -> tuple[str, dict]:
    """Write one shard unless it is there; its name, size and checksum.

    Raises:
        RunError: a picture cannot be read, or the shard cannot be written; nothing of it stays.
    """
    path, rows = job
    if not path.is_file():
        part = path.with_name(f".{path.name}.part")
        try:
            _write(part, rows)
            part.replace(path)
        except tf.errors.OpError as error:
            raise RunError(
                f"{path} cannot be written ({error.message}): make room and run the same command again"
            ) from None
        finally:
            part.unlink(missing_ok=True)
    contents = path.read_bytes()
    return path.name, {"bytes": len(contents), "sha256": hashlib.sha256(contents).hexdigest()}


def _write(path: pathlib.Path, rows: list) -> None:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for picture, label in rows:
            writer.write(_record(picture, label))


def _record(picture: pathlib.Path, label: int) -> bytes:
    try:
        contents = picture.read_bytes()
    except OSError as error:
        raise RunError(
            f"{picture} cannot be read ({error.strerror}): restore it and run the same command again"
        ) from None
    feature = {
        "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[contents])),
        "image/class/label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
        "image/filename": tf.train.Feature(bytes_list=tf.train.BytesList(value=[picture.name.encode()])),
    }
    # Map entries have no order of their own; the same pictures shall give the same bytes.
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString(deterministic=True)


if __name__ == "__main__":
    main()
