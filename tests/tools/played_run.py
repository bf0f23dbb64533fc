"""Plays a run of a search: accuracy grows with --x; with --seconds it takes so long."""

import json
import pathlib
import sys
import time

flags = dict(word[2:].split("=") for word in sys.argv[1:])
x, folder = float(flags["x"]), pathlib.Path(flags["log_dir"]) / "run"
folder.mkdir(parents=True, exist_ok=True)
line = json.dumps({"stage": flags["stage"], "step": 100, "accuracy": x})
(folder / "metrics.jsonl").write_text(line + "\n")
if x < 0.1 or "seconds" in flags:
    time.sleep(float(flags.get("seconds", 60)))
row = {"accuracy": x, "macs": 50 if flags.get("kind") == "good" else 80, "latency_ms": {"median": 1.0}}
dense = {"accuracy": 0.9, "macs": 100, "latency_ms": {"median": 2.0}}
(folder / "result.json").write_text(json.dumps({"dense": dense, "pruned": row}))
sys.exit(int(flags.get("code", 0)))
