import copy

import pytest

from secateur.export import machine_facts, read_result, table, write_labels, write_result
from secateur.export.report import columns
from secateur.utils.errors import RunError

MODEL = {"accuracy": 0.9, "top5": 0.99, "loss": 0.3, "params": 2_000_000, "macs": 40_800_000, "tflite_bytes": 1_500}
RESULT = {
    "task": "net_at_data",
    "learner": "some-learner",
    "data": {"name": "Data"},
    "seed": 7,
    "dense": MODEL | {"latency_ms": {"median": 2.0, "p10": 1.5, "p90": 3.0}},
    "pruned": MODEL | {"accuracy": 0.895, "macs": 20_400_000, "latency_ms": {"median": 1.0, "p10": 0.5, "p90": 1.5}},
    "dense_same_budget": {"accuracy": 0.905},
    "equivalence": {"masked_vs_shrunk": 1e-7, "shrunk_vs_tflite": 2e-6, "tolerance": 1e-3},
    "seconds": {"a": 60.0, "b": 30.0},
    "files": {"dense": {"keras": "x/dense.keras"}, "pruned": {"tflite": "x/model.tflite"}},
}


def test_table_shows_every_figure():
    text = table(RESULT)
    for part in ("90.00 %", "89.50 %", "-0.50 points", "40.8 M", "2.00 times fewer", "2.00 times as fast", "1.5 k"):
        assert part in text
    for part in (
        "90.50 %",
        "1.00 points",
        "1.0e-07",
        "2.0e-06",
        "1.5 minutes",
        "seed 7",
        "model.tflite: x/model.tflite",
    ):
        assert part in text


def test_table_shows_memory_threads_and_quantized_forms():
    latency = {"median": 0.8, "p10": 0.7, "p90": 0.9, "threads": 2}
    extra = {"latency_ms_threads": latency, "peak_memory_bytes": 3_000_000, "delegated_share": 0.97}
    result = RESULT | {name: RESULT[name] | extra for name in ("dense", "pruned")}
    result["int8"] = {"accuracy": 0.893, "tflite_bytes": 450, "latency_ms": latency}
    result["float16"] = {"accuracy": 0.894, "tflite_bytes": 750, "latency_ms": latency}
    text = table(result)
    for part in ("0.800 on 2", "3.0 M", "97.00 %", "pruned in float16: 89.40 % (-0.10 points), 750 bytes (50.00 %)"):
        assert part in text
    title, *rows = columns(result)
    assert title[-1] == "pruned, int8"
    own = {row[0]: row[-1] for row in rows}
    assert (own["accuracy"], own[".tflite bytes"]) == ("89.30 %", "450")
    assert (own["LiteRT ms, 1 thread"], own["parameters"]) == ("0.800 (0.700 to 0.900)", "")


def test_table_shows_the_methods_own_counts():
    counted = {"pruned": RESULT["pruned"] | {"macs_method": 1e6, "params_method": 500}}
    dense = RESULT["dense"]
    text = table(RESULT | counted)
    assert f"MACs by the method's own count: 1.0 M, {dense['macs'] / 1e6:.2f} times fewer" in text
    assert f"parameters by the method's own count: 500, {dense['params'] / 500:.2f} times fewer" in text
    assert "own count" not in table(RESULT)


def test_table_shows_how_much_pictures_differ():
    names = ("least", "p10", "median", "p90", "most")
    quantiles = dict(zip(names, (1e6, 2e6, 3e6, 4e6, 5.5e6), strict=True))
    line = "MACs by picture: least 1.0 M, 10 % below 2.0 M, median 3.0 M, 10 % above 4.0 M, most 5.5 M"
    assert line in table(RESULT | {"macs_quantiles": quantiles})
    assert "MACs by picture" not in table(RESULT)


def test_table_says_what_eight_bits_chose_between():
    line = "in int8: all dense 0.500 ms, the forms of float32 8.300 ms; the file has the faster ones"
    assert line in table(RESULT | {"int8_whole": {"dense": 0.5, "chosen": 8.3}})
    assert "in int8" not in table(RESULT | {"int8_whole": {}})


def test_table_of_a_dense_run_has_one_column():
    result = copy.deepcopy(RESULT)
    for key in ("pruned", "dense_same_budget"):
        del result[key]
    result["equivalence"]["masked_vs_shrunk"] = None
    text = table(result)
    assert "90.00 %" in text
    assert "pruned" not in text
    assert "times" not in text


def test_result_round_trip(tmp_path):
    write_result(tmp_path / "result.json", RESULT)
    assert read_result(tmp_path / "result.json") == RESULT


def test_a_number_that_is_not_finite_is_refused(tmp_path):
    with pytest.raises(RunError, match="not finite"):
        write_result(tmp_path / "result.json", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


def test_damaged_result(tmp_path):
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(RunError, match="not a readable result"):
        read_result(tmp_path / "result.json")


def test_labels_one_per_line(tmp_path):
    write_labels(tmp_path / "labels.txt", ["cat", "dog"])
    assert (tmp_path / "labels.txt").read_text() == "cat\ndog\n"


def test_machine_facts_name_versions_and_nobody():
    facts = machine_facts()
    assert {"cpu", "cores", "python", "tensorflow", "keras", "ai-edge-litert"} <= set(facts)
    assert all(facts.values())
