"""The whole road at real size, small: records of pictures, a few steps of ResNet-18, pruning, fine-tuning, exports.

    .venv/bin/python benchmarks/ilsvrc12_pipeline.py --pictures DIR --synsets FILE --out results/ilsvrc12_pipeline.json

DIR holds pictures whose names begin with their synset; they serve for training and for validation, so that the accuracy
says nothing. Printed and written: seconds of each part and the largest memory of any process, against the goals.
"""

import argparse
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

from turns import write

ROOT = pathlib.Path(__file__).resolve().parent.parent
BATCH, STEPS, STEPS_FT = 32, 30, 10
MINUTES_AT_MOST, GIB_AT_MOST = 10.0, 6.0
SMALL = ["--dcp_nb_iters_block=6", "--dcp_nb_iters_layer=8", "--dcp_nb_smpls=128", "--noenbl_layer_latency"]


def timed(script: str, *arguments: str) -> float:
    """Run a program of the project to its end; its seconds."""
    begin = time.perf_counter()
    if subprocess.run([sys.executable, str(ROOT / script), *arguments], check=False).returncode:
        sys.exit(f"error: {script} failed")
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=pathlib.Path, required=True, help="folder of pictures")
    parser.add_argument("--synsets", type=pathlib.Path, required=True, help="the synsets in label order")
    parser.add_argument("--out", type=pathlib.Path, help="write the figures as JSON")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        records = f"{folder}/records"
        shards = ["--train_shards=4", "--validation_shards=1", f"--synsets={args.synsets}", f"--out={records}"]
        pictures = [f"--train={args.pictures}", f"--validation={args.pictures}"]
        seconds = {"records": timed("tools/build_ilsvrc12_tfrecords.py", *pictures, *shards)}
        counts = json.loads(pathlib.Path(records, "counts.json").read_text())
        steps_per_epoch = counts["train"] // BATCH
        budget = [f"--nb_epochs={STEPS / steps_per_epoch:.4f}", f"--nb_epochs_ft={STEPS_FT / steps_per_epoch:.4f}"]
        where = [f"--data_dir_local={records}", f"--save_path={folder}/models", f"--log_dir={folder}/logs"]
        run = ["--learner=dis-chn-pruned", "--resnet_size=18", f"--batch_size={BATCH}", "--batch_size_eval=50"]
        exports = ["--export_formats=tflite_int8"]
        seconds["run"] = timed("nets/resnet_at_ilsvrc12_run.py", *run, *budget, *SMALL, *exports, *where)
        result = json.loads(next(pathlib.Path(folder, "logs").glob("*dis-chn-pruned*/result.json")).read_text())
    minutes = sum(seconds.values()) / 60
    gib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"{minutes:.1f} minutes (at most {MINUTES_AT_MOST:g}), {gib:.2f} GiB at most (goal {GIB_AT_MOST:g})")
    figures = {"seconds": seconds, "minutes": minutes, "minutes_at_most": MINUTES_AT_MOST, "steps": STEPS}
    figures |= {"gib": gib, "gib_at_most": GIB_AT_MOST, "pictures": counts["train"]}
    write(args.out, figures | {form: result[form] for form in ("dense", "pruned")})


if __name__ == "__main__":
    main()
