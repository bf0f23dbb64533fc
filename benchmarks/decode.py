"""How fast pictures are decoded and augmented, and how many cores feed one GPU.

    .venv/bin/python benchmarks/decode.py --pictures DIR --out results/decode.json

DIR holds JPEGs. Random crops of 224x224 as training makes them: decoding only where the crop lies, against decoding the
whole picture and cutting it afterwards; and what decoding alone takes. All through `tf.data`, in turns, on all cores.
Run it on an idle machine.
"""

import argparse
import os
import pathlib
from collections.abc import Callable

import tensorflow as tf
from turns import take_turns, times_as_fast, write

from secateur.datasets.crops import random_crop

SIZE, BATCH, GOAL = 224, 50, 1.5
# ResNet-50 on one P100, float32 (tensorflow.org, "Benchmarks", May 2017); a newer GPU's rate is given by --gpu_rate.
GPU_PICTURES_PER_SECOND = 219.0


def whole_then_crop(contents: tf.Tensor, size: int, key: tf.Tensor) -> tf.Tensor:
    """The same crop of the whole decoded picture, as tutorials write it."""
    image = tf.io.decode_jpeg(contents, channels=3)
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


def reader(contents: list[bytes], crop: Callable) -> Callable[[int], None]:
    """Carries out so many batches."""
    records = tf.data.Dataset.from_tensor_slices(contents).repeat().enumerate()
    pictures = records.map(lambda k, c: crop(c, SIZE, tf.stack([k, k + 1])), tf.data.AUTOTUNE)
    batches = iter(pictures.batch(BATCH).prefetch(2))

    def run(nb_batches: int) -> None:
        for _ in range(nb_batches):
            next(batches)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=pathlib.Path, required=True, help="folder of JPEGs")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each")
    parser.add_argument("--gpu_rate", type=float, default=GPU_PICTURES_PER_SECOND, help="pictures a second of a GPU")
    parser.add_argument("--out", type=pathlib.Path, help="write the figures as JSON")
    args = parser.parse_args()
    paths = sorted(path for path in args.pictures.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    contents = [path.read_bytes() for path in paths]
    crops = {"fused": random_crop, "separate": whole_then_crop, "decoding, crop": part, "decoding, whole": whole}
    contenders = {name: reader(contents, crop) for name, crop in crops.items()}
    times = take_turns(contenders, args.rounds, 10)
    rates = {name: BATCH / (sorted(found)[len(found) // 2] / 1e3) for name, found in times.items()}
    ratio, cores = times_as_fast(times["fused"], times["separate"]), os.cpu_count() or 1
    needed = args.gpu_rate / (rates["fused"] / cores)
    for name, rate in rates.items():
        print(f"{name}: {rate:.0f} pictures a second on {cores} cores")
    print(f"fused is {ratio:.2f} times as fast (goal {GOAL})")
    print(f"a GPU that trains {args.gpu_rate:g} pictures a second needs {needed:.1f} such cores")
    figures = {"pictures_per_second": rates, "cores": cores, "times_as_fast": ratio, "goal": GOAL}
    gpu = {"pictures_per_second": args.gpu_rate, "cores_needed": needed}
    write(args.out, figures | {"gpu": gpu, "nb_pictures": len(contents)})


if __name__ == "__main__":
    main()
