import json

import pytest

from tests.tools.helpers import load


@pytest.fixture
def results(tmp_path):
    """A dense run, three seeds of a pruned one, another learner's by its own count."""

    def write(name, accuracy, seed, **more):
        dense = {"accuracy": 0.9, "top5": 0.99, "macs": 4e6, "params": 3000, "latency_ms": {"median": 2.0}}
        result = {"config": {"start": "abc"}, "epochs": {"fine_tune": 40.0}, "seed": seed, "dense": dense} | more
        result |= {"seconds": {"prune": 60.0, "fine_tune": 540.0}, "int8": {"accuracy": 0.88, "tflite_bytes": 2000}}
        if accuracy:
            result["pruned"] = dense | {"accuracy": accuracy, "macs": 2e6, "latency_ms": {"median": 1.0}}
        (tmp_path / name).mkdir()
        (tmp_path / name / "result.json").write_text(json.dumps(result))
        return result

    write("net_dense", None, 0, config={})
    write(
        "net_a", 0.89, 0, dense_same_budget={"accuracy": 0.91, "top5": 0.97}, scratch={"accuracy": 0.86, "top5": 0.95}
    )
    write("net_a_seed1", 0.88, 1)
    write("net_a_seed2", 0.87, 2)
    write("net_short", 0.88, 0, epochs={"choose": 3.0, "fine_tune": 5.0})
    other = write("net_b", 0.9, 0)
    other["pruned"] |= {"macs_method": 1e6, "params_method": 2e3}
    (tmp_path / "net_b" / "result.json").write_text(json.dumps(other))
    return tmp_path


def test_rows_say_what_was_lost_and_gained(results):
    lines = load("results_table").table(results).splitlines()
    rows = {line.split("|")[1].strip(): [cell.strip() for cell in line.split("|")[2:]] for line in lines[2:]}
    assert rows["net_dense"][:4] == ["90.00 %", "99.00 %", "", ""]
    assert rows["net_a"][2:9] == [
        "1.00",
        "2.00",
        "2.0 M, 2.00 times fewer",
        "3.0 k",
        "1.000 ms, 2.00 times as fast",
        "88.00 %, 2 kB",
        "40",
    ]
    assert rows["net_a"][9:11] == ["10", "0"]
    # The dense model trained on is that of every run with the same start and as many epochs.
    assert rows["net_a_seed2"][2:4] == ["3.00", "4.00"]
    assert rows["net_short"][2:4] == ["2.00", ""]
    assert rows["net_b"][4:6] == ["1.0 M, 4.00 times fewer (2.0 M executed)", "2.0 k"]


def test_a_documents_table_is_replaced(results):
    tool = load("results_table")
    other = "<!-- table: b -->\n\n| b |\n"
    text = f"# Title\n\n<!-- table: all -->\n\n| run | old |\n|---|---|\n\n{other}\nText\n"
    found = tool.replaced(text, "all", made := tool.made("all", results))
    assert found == f"# Title\n\n<!-- table: all -->\n\n{made}\n\n{other}\nText\n"
    assert tool.replaced(found, "all", made) == found


def test_seeds_have_their_mean_and_range(results):
    lines = load("results_table").table(results).splitlines()
    (last,) = [line for line in lines if "**mean of 3 seeds**: net_a |" in line]
    assert "88.00 % (87.00 to 89.00) |  | 2.00 | 3.00 |" in last
    assert "2.00 times as fast" in last
    assert "0, 1, 2" in last


def test_what_a_run_was_compared_with_has_rows_of_its_own(results):
    dense, scratch = load("results_table").table(results).splitlines()[-2:]
    assert dense.startswith("| the dense model, trained for 40 epochs more | 91.00 % | 97.00 % |  |")
    assert scratch.startswith("| the shape of net_a from scratch | 86.00 % | 95.00 % | 4.00 |")
    assert dense.count("|") == scratch.count("|") == 13
