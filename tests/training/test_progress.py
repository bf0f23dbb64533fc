from secateur.training import progress
from secateur.training.progress import Progress


def test_a_log_gets_a_plain_line_at_the_end(capsys):
    with Progress("stage", 0, 3) as bar:
        for done in (1, 2, 3):
            bar.step()
            bar.show(done, {"loss": 0.5})
    assert capsys.readouterr().err == "stage: 3/3 loss 0.5 ETA 0 s\n"


def test_eta_counts_from_where_the_run_went_on(capsys, monkeypatch):
    clock = iter([0.0, 20.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with Progress("stage", 50, 100) as bar:
        bar.show(60, {})
    assert "ETA 80 s" in capsys.readouterr().err
