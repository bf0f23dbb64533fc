import keras
import pytest

from secateur.learners.stripe.skeletons import Skeletons
from secateur.pruning import ChannelGraph
from secateur.training.precision import to_training


@pytest.fixture
def parts(task):
    """The graph of the pretrained network, its training form and its skeletons."""
    dense = keras.models.load_model(task.pretrained)
    graph, model = ChannelGraph(dense), to_training(dense, "float32")
    return graph, model, Skeletons(graph, model, from_norms=True)
