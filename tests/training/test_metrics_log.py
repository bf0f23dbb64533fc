import json

from secateur.training.metrics_log import MetricsLog


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_lines_and_events(tmp_path):
    log = MetricsLog(tmp_path)
    log.append("a", 1, {"loss": 0.5})
    log.append("a", 2, {"loss": 0.25})
    assert lines(tmp_path) == [{"stage": "a", "step": k, "loss": loss} for k, loss in ((1, 0.5), (2, 0.25))]
    (events,) = (tmp_path / "events").iterdir()
    assert b"a/loss" in events.read_bytes()


def test_only_the_later_lines_of_the_stage_are_dropped(tmp_path):
    log = MetricsLog(tmp_path)
    for stage, step in (("a", 10), ("a", 20), ("b", 30), ("a", 30)):
        log.append(stage, step, {})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"stage": "a", "st')  # half a line, of a kill
    log.drop_after("a", 20)
    assert [(line["stage"], line["step"]) for line in lines(tmp_path)] == [("a", 10), ("a", 20), ("b", 30)]


def test_nothing_to_drop_writes_nothing(tmp_path):
    MetricsLog(tmp_path).drop_after("a", 0)
    assert list(tmp_path.iterdir()) == []
    log = MetricsLog(tmp_path)
    log.append("a", 1, {})
    before = (tmp_path / "metrics.jsonl").stat().st_mtime_ns
    log.drop_after("a", 1)
    assert (tmp_path / "metrics.jsonl").stat().st_mtime_ns == before
