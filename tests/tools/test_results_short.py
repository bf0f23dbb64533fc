import json

import pytest

from tests.tools.helpers import load


@pytest.fixture
def rows(tmp_path):
    """A dense run, a pruned one of two seeds with what it is compared with, one of a method's own count."""

    def result(accuracy, **more):
        dense = {"accuracy": 0.9, "top5": 0.99, "macs": 4e6, "params": 3000, "latency_ms": {"median": 2.0}}
        pruned = {"accuracy": accuracy, "macs": 2e6, "params": 1500, "latency_ms": {"median": 1.25}}
        return (
            {"seconds": {"a": 60.0, "b": 30.0}, "dense": dense, "machine": {"cpu": "Intel(R) Xeon(R) Processor"}}
            | ({"pruned": dense | pruned} if accuracy else {})
            | more
        )

    int8 = {"accuracy": 0.88, "tflite_bytes": 2000, "latency_ms": {"median": 0.5}}
    results = {
        "net": result(None),
        "net_a": result(0.89, scratch={"accuracy": 0.86, "top5": 0.95}, int8=int8),
        "net_a_seed1": result(0.87),  # and of another shape
        "net_b": result(0.9),
    }
    results["net_a_seed1"]["pruned"] |= {"macs": 1e6, "params": 500, "latency_ms": {"median": 1.0}}
    results["net_b"]["pruned"] |= {"macs_method": 1e6, "params_method": 1000}
    entries = [
        {"label": "Net", "run": "net"},
        {"label": "from scratch", "run": "net_a", "control": "scratch"},
        {"label": "`a`", "run": "net_a"},
        {"label": "`b`", "run": "net_b"},
    ]
    (tmp_path / "rows.json").write_text(json.dumps(entries))
    table = load("results_short").short_table(tmp_path, results, {"net_a": {"accuracy": 0.91}})
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_every_row_has_a_cell_for_every_column(rows):
    assert {len(row) for row in rows} == {9}
    assert len(rows) == 2 + 4


def test_a_dense_network_stands_out_and_has_nothing_to_compare(rows):
    assert rows[2] == ["**[Net](results/net)**", "90.00", "99.00", "", "4.0", "3.0", "2.000, Xeon", "", "2"]


def test_a_control_has_its_accuracy_alone(rows):
    assert rows[3] == ["[from scratch](results/net_a)", "86.00", "95.00", "4.00", *(5 * [""])]


def test_seeds_are_averaged(rows):
    assert rows[4][1] == "88.00 (87.00 to 89.00, 2 seeds)"
    assert rows[4][3:] == ["2.00 (3.00)", "1.5 (3.00)", "1.0 (4.00)", "1.125 (1.80), Xeon", "88.00; 0.500; 2", "2"]


def test_a_methods_own_count_stands_beside_what_is_executed(rows):
    assert rows[5][3:6] == ["0.00", "1.0 (4.00), executed 2.0", "1.0 (3.00)"]
