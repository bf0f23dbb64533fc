"""How fast pictures are decoded and augmented, and how many cores feed one GPU.

    .venv/bin/python benchmarks/decode.py --pictures DIR --out results/decode.json

DIR holds JPEGs. "reader" is what training runs: batches of random crops of 224x224 from TFRecord shards. The others
say where its time goes; they take the same pictures from memory: the crop alone, decoded only where it lies ("fused");
decoding the whole picture and cutting it afterwards, as tutorials write it ("separate"), and with the decoder's fast
transform that fused takes ("separate, fast"); and what decoding alone takes. All through `tf.data`, in turns, on all
cores. Run it on an idle machine.
"""

import argparse
import dataclasses
import functools
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable

import tensorflow as tf
from turns import take_turns, times_as_fast, write

from secateur.datasets import ilsvrc12
from secateur.datasets.crops import random_crop
from secateur.datasets.records import RecordDataset

TOOL = pathlib.Path(__file__).resolve().parent.parent / "tools" / "build_ilsvrc12_tfrecords.py"
# Of the shards in an epoch, because the beginning of one costs time; turns are long against what is prefetched.
COPIES, STEPS = 32, 100
SIZE, BATCH, GOAL = 224, 50, 1.5
# Pictures a second of one GPU that trains ResNet-50: P100 in float32 (tensorflow.org, "Benchmarks", May 2017), V100 and
# A100 in mixed precision with XLA (NVIDIA, DeepLearningExamples, ResNet-50 v1.5 for TensorFlow, container 20.06).
GPUS = {"P100": 219.0, "V100": 1270.0, "A100": 2375.0}


def whole_then_crop(contents: tf.Tensor, size: int, key: tf.Tensor, transform: str = "") -> tf.Tensor:
    """The same crop of the whole decoded picture."""
    image = tf.io.decode_jpeg(contents, channels=3, dct_method=transform)
    begin, extent = window(tf.shape(image), key)
    image = tf.image.resize(tf.slice(image, begin, extent), [size, size])
    return tf.image.stateless_random_flip_left_right(image, key + 1)


def window(shape: tf.Tensor, key: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Begin and extent of a random crop."""
    return tf.image.stateless_sample_distorted_bounding_box(
        shape,
        tf.zeros([0, 0, 4]),
        seed=key,
        aspect_ratio_range=(3 / 4, 4 / 3),
        area_range=(0.08, 1.0),
        use_image_if_no_bounding_boxes=True,
    )[:2]


def whole(contents: tf.Tensor, size: int, key: tf.Tensor) -> tf.Tensor:
    """Decoding alone; its first values stand for the picture, so that batches can be made."""
    return tf.reshape(tf.io.decode_jpeg(contents, channels=3), [-1])[:size]


def part(contents: tf.Tensor, size: int, key: tf.Tensor) -> tf.Tensor:
    """Decoding alone, of what training reads of the picture."""
    begin, extent = window(tf.io.extract_jpeg_shape(contents), key)
    chosen = tf.concat([begin[:2], extent[:2]], axis=0)
    image = tf.io.decode_and_crop_jpeg(contents, chosen, channels=3, dct_method="INTEGER_FAST")
    return tf.reshape(image, [-1])[:size]


def from_memory(contents: list[bytes], crop: Callable) -> Callable[[int], None]:
    """Carries out so many batches of a crop."""
    records = tf.data.Dataset.from_tensor_slices(contents).repeat().enumerate()
    pictures = records.map(lambda k, c: crop(c, SIZE, tf.stack([k, k + 1])), tf.data.AUTOTUNE)
    return turns_of(pictures.batch(BATCH).prefetch(2))


def turns_of(dataset: Iterable) -> Callable[[int], None]:
    batches = iter(dataset)

    def run(nb_batches: int) -> None:
        for _ in range(nb_batches):
            next(batches)

    return run


def records_of(pictures: pathlib.Path, folder: pathlib.Path) -> RecordDataset:
    """The pictures in shards, as the tool makes them, each often enough for a long epoch."""
    places = [f"--train={pictures}", f"--validation={pictures}", f"--out={folder}"]
    subprocess.run([sys.executable, str(TOOL), *places, "--train_shards=16", "--validation_shards=1"], check=True)
    data = ilsvrc12.load(folder, SIZE)
    return dataclasses.replace(data, train_shards=list(data.train_shards) * COPIES, nb_train=data.nb_train * COPIES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=pathlib.Path, required=True, help="folder of JPEGs, as the tool takes them")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each")
    parser.add_argument("--gpu_rate", type=float, help="pictures a second that a GPU of yours trains")
    parser.add_argument("--out", type=pathlib.Path, help="write the figures as JSON")
    args = parser.parse_args()
    paths = sorted(path for path in args.pictures.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    contents = [path.read_bytes() for path in paths]
    fast = functools.partial(whole_then_crop, transform="INTEGER_FAST")
    crops = {"fused": random_crop, "separate": whole_then_crop, "separate, fast": fast}
    crops |= {"decoding, crop": part, "decoding, whole": whole}
    with tempfile.TemporaryDirectory() as folder:
        reader = turns_of(records_of(args.pictures, pathlib.Path(folder)).train_batches(BATCH, seed=0))
        contenders = {"reader": reader} | {name: from_memory(contents, crop) for name, crop in crops.items()}
        times = take_turns(contenders, args.rounds, STEPS)
    rates = {name: 1e3 * BATCH / statistics.median(found) for name, found in times.items()}
    for name, rate in rates.items():
        print(f"{name}: {rate:.0f} pictures a second")
    ratios = {name: times_as_fast(times["fused"], times[name]) for name in crops if name.startswith("separate")}
    for name, ratio in ratios.items():
        print(f"fused is {ratio:.2f} times as fast as {name} (goal {GOAL})")
    cores = os.cpu_count() or 1
    print(f"{rates['reader']:.0f} / {cores} = {rates['reader'] / cores:.0f} pictures a second for each core")
    rates_of_gpus = GPUS | ({"yours": args.gpu_rate} if args.gpu_rate else {})
    needed = {name: rate / (rates["reader"] / cores) for name, rate in rates_of_gpus.items()}
    for name, rate in rates_of_gpus.items():
        print(f"{name}, {rate:g} pictures a second: {needed[name]:.1f} such cores")
    figures = {"pictures_per_second": rates, "cores": cores, "times_as_fast": ratios, "goal": GOAL}
    write(args.out, figures | {"gpus": rates_of_gpus, "cores_needed": needed, "nb_pictures": len(contents)})


if __name__ == "__main__":
    main()
