"""Losses on crack logits."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from .data import IGNORE


def crack_loss(logits: Tensor, label: Tensor, dice_weight: float) -> Tensor:
    """Binary cross entropy plus soft Dice over the batch, pixels labelled 255 left out.

    Parameters
    ----------
    logits : float `[N, 1, H, W]`
    label : uint8 `[N, 1, H, W]`, 0, 1 or 255
    dice_weight : weight of the Dice term
    """
    known = (label != IGNORE).float()
    truth = (label == 1).float()
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    entropy = (entropy * known).sum() / known.sum().clamp(min=1)
    probability = logits.sigmoid() * known
    overlap = (probability * truth).sum()
    dice = 1 - (2 * overlap + 1) / (probability.sum() + truth.sum() + 1)
    return entropy + dice_weight * dice
