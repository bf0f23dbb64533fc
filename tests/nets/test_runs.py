import dataclasses

from secateur.nets import runs
from tests.training.helpers import pictures, tiny_task


def test_other_data_and_another_loss_are_other_runs(tmp_path):
    def name(**changes):
        task = dataclasses.replace(tiny_task(), **changes)
        return runs.run_of(task, "full-prec", {}, runs.Where(str(tmp_path), ""), runs.How()).directory.name

    other = dataclasses.replace(pictures(), name="other noise")
    found = [name(), name(), name(load_data=lambda: other), name(loss=lambda labels, logits: 0.0)]
    assert [found.count(one) for one in found] == [2, 2, 1, 1]
