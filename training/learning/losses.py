"""Losses on crack logits."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ..pictures.data import CORE
from ..pictures.records import IGNORE


def crack_loss(
    logits: Tensor,
    label: Tensor,
    dice_weight: float,
    skeleton_weight: float = 0.0,
    jaccard_weight: float = 0.0,
    empty_iou_px: float = 0.0,
) -> Tensor:
    """Binary cross entropy plus soft Dice over the batch, pixels labelled 255 left out.

    With `jaccard_weight`, also one minus the soft IoU of each crop with a crack, in the mean: Dice
    of a batch is that of its widest cracks, scores are means over pictures. With `empty_iou_px`,
    crops without a crack count in that mean, too, so that what is invented there costs as well.

    With `skeleton_weight`, also one minus the soft recall of the centrelines (Kirchhoff et al.,
    ECCV 2024): a hairline counts as much as a wide crack of the same length.

    Parameters
    ----------
    logits : float `[N, 1, H, W]`
    label : uint8 `[N, 1, H, W]`, 0, 1, 255, or 2 for crack at the centreline
    dice_weight, skeleton_weight, jaccard_weight : weights of these terms
    empty_iou_px : added above and below the fraction of every crop's IoU, so that a crop without a
        crack in which `P` sums up to as many pixels has 1/2; 0 leaves such crops out
    """
    known = (label != IGNORE).float()
    truth = ((label == 1) | (label == CORE)).float()
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    entropy = (entropy * known).sum() / known.sum().clamp(min=1)
    probability = logits.sigmoid() * known
    overlap = (probability * truth).sum()
    dice = 1 - (2 * overlap + 1) / (probability.sum() + truth.sum() + 1)
    loss = entropy + dice_weight * dice
    if jaccard_weight > 0:
        loss = loss + jaccard_weight * _jaccard_loss(probability, truth, empty_iou_px)
    if skeleton_weight > 0:
        core = (label == CORE).float()
        recall = ((probability * core).sum() + 1) / (core.sum() + 1)
        loss = loss + skeleton_weight * (1 - recall)
    return loss


def _jaccard_loss(probability: Tensor, truth: Tensor, empty_px: float) -> Tensor:
    """One minus the soft IoU of each crop that counts, in the mean; 0 if none does."""
    slack = empty_px or 1.0
    both = (probability * truth).flatten(1).sum(1)
    cracked = truth.flatten(1).sum(1)
    iou = (both + slack) / (probability.flatten(1).sum(1) + cracked - both + slack)
    counts = ((cracked > 0) | (empty_px > 0)).float()
    return ((1 - iou) * counts).sum() / counts.sum().clamp(min=1)
