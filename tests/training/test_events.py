import tensorflow as tf

from secateur.training.events import EventWriter


def test_scalars_can_be_read_back(tmp_path):
    writer = EventWriter(tmp_path)
    writer.write("dense", 10, {"loss": 1.5, "accuracy": 0.25})
    writer.write("dense", 20, {"loss": 0.5})
    (path,) = tmp_path.glob("events.*")
    found = {}
    for record in tf.data.TFRecordDataset(str(path)):
        event = tf.compat.v1.Event.FromString(record.numpy())
        for value in event.summary.value:
            found[value.tag, event.step] = float(tf.make_ndarray(value.tensor))
    assert found == {("dense/loss", 10): 1.5, ("dense/accuracy", 10): 0.25, ("dense/loss", 20): 0.5}
