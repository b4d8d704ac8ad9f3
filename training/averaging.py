"""The mean of the weights of several runs (Wortsman et al. 2022, "Model soups")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from crackgeo.errors import ModelError


def mean_weights(weights: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Average weights tensor by tensor.

    Parameters
    ----------
    weights : of one network or more, by what they are called in a message

    Returns
    -------
    dict
        Of floats the mean, as float32; of whole numbers, such as a count of batches, the first.

    Raises
    ------
    ModelError
        They are of different networks.
    """
    (name, first), *others = weights.items()
    for other_name, other in others:
        if {k: v.shape for k, v in other.items()} != {k: v.shape for k, v in first.items()}:
            raise ModelError(
                f"{other_name}: not of the network of {name}", "average like with like"
            )
    return {key: _mean([each[key] for each in weights.values()]) for key in first}


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    if not tensors[0].dtype.is_floating_point:
        return tensors[0]
    return torch.stack([t.float() for t in tensors]).mean(dim=0)
