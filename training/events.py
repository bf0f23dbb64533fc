"""TensorBoard scalars, written with TensorFlow alone (TensorBoard itself is an optional extra)."""

import pathlib

import tensorflow as tf

SCALAR = tf.compat.v1.SummaryMetadata(
    plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name="scalars"), data_class="DATA_CLASS_SCALAR"
)


class EventWriter:
    """Scalars under `<stage>/<metric>`, one event file per process."""

    def __init__(self, directory: pathlib.Path):
        self._writer = tf.summary.create_file_writer(str(directory))

    def write(self, stage: str, step: int, metrics: dict[str, float]) -> None:
        with self._writer.as_default():
            for name, value in metrics.items():
                tf.summary.write(f"{stage}/{name}", tf.constant(value, tf.float32), step=step, metadata=SCALAR)
        self._writer.flush()
