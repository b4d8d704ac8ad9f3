"""The mean of the weights of several runs (Wortsman et al. 2022, "Model soups")."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike

import torch
from torch import Tensor

from crackgeo.errors import ModelError


def mean_weights(
    names: Sequence[str | PathLike[str]], weights: Sequence[Mapping[str, Tensor]]
) -> dict[str, Tensor]:
    """Average weights tensor by tensor.

    Parameters
    ----------
    names : what each is called in a message
    weights : of one run or more; one that is given twice counts twice

    Returns
    -------
    dict
        Of floats the mean, as float32; of whole numbers, such as a count of batches, the first.

    Raises
    ------
    ModelError
        They are of different networks.
    """
    first = weights[0]
    for name, other in zip(names, weights, strict=True):
        if {k: v.shape for k, v in other.items()} != {k: v.shape for k, v in first.items()}:
            raise ModelError(f"{name}: not of the network of {names[0]}", "average like with like")
    return {key: _mean([each[key] for each in weights]) for key in first}


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    if not tensors[0].dtype.is_floating_point:
        return tensors[0]
    return torch.stack([t.float() for t in tensors]).mean(dim=0)
