"""`MeanClassifier`: logits from the mean of every map, so that images of any size are classified."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from striate.networks.layers.pooling import average_pool_to


class MeanClassifier(nn.Sequential):
    """Mean over the whole map, dropout, one fully connected layer (Xavier-uniform weights, biases 0).

    Parameters
    ----------
    spatial_dims
        Number of spatial axes.
    inputs, outputs
        Feature maps; classes.
    dropout
        Probability of leaving out a map's mean while training.
    """

    def __init__(self, spatial_dims: int, inputs: int, outputs: int, dropout: float = 0.0) -> None:
        linear = nn.Linear(inputs, outputs)
        if not linear.weight.is_meta:
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)
        layers: dict[str, nn.Module] = {
            "mean": average_pool_to(spatial_dims, 1),
            "flatten": nn.Flatten(),
            "dropout": nn.Dropout(dropout),
            "linear": linear,
        }
        super().__init__(OrderedDict(layers))
