"""How a base learns: what moves, how fast, by which loss. One recipe for `compact`, the paper's for
CrackSAM."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from crackgeo.models.compact import CompactNet

from ..learning.losses import crack_loss
from ..learning.stepping import keep_norms
from ..pictures.records import IGNORE
from .bases import Base
from .local_data import BASE_SAYS

PAPER_EPS = 1e-5
PAPER_CE, PAPER_DICE = 0.2, 0.8
ENCODER_SHARE = 1 / 3  # of the rate: what sees textures needs to learn less than what draws


@dataclass(frozen=True)
class Recipe:
    """The numbers of a recipe.

    Parameters
    ----------
    lr : greatest learning rate of AdamW
    warmup : iterations until it is reached
    weight_decay : towards zero
    anchor : pull of every weight towards where it began, times the rate, a step (L2-SP, Li et al.
        2018, in the decoupled form that AdamW's decay has)
    power : of the polynomial decay; 0 decays by a cosine
    jaccard_weight, empty_iou_px : of the soft IoU of each crop, see `crack_loss`, `compact` only
    replay_weight : of the term that keeps what the base said, `compact` only
    """

    lr: float
    warmup: int
    weight_decay: float = 0.01
    anchor: float = 0.0
    power: float = 0.0
    jaccard_weight: float = 1.0
    empty_iou_px: float = 100.0
    replay_weight: float = 1.0


# replay_weight 4 cost .02 on older pictures, 12 nothing, for .02 less of the local gain
COMPACT = Recipe(lr=5e-4, warmup=20, weight_decay=0.0, anchor=10.0, replay_weight=12.0)
PAPER = Recipe(lr=4e-4, warmup=300, power=6.0)  # Ge et al. 2024; weight decay is AdamW's own


def schedule(recipe: Recipe, iterations: int) -> Callable[[int], float]:
    """Factor of the learning rate at an iteration."""

    def factor(iteration: int) -> float:
        if iteration < recipe.warmup:
            return (iteration + 1) / recipe.warmup
        if recipe.power:
            left = 1 - min(1.0, (iteration - recipe.warmup) / iterations)
            return float(left**recipe.power)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, iteration / iterations)))

    return factor


def optimizer(base: Base, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW over what learns; in `compact` the encoder learns more slowly."""
    named = [(n, p) for n, p in base.network.named_parameters() if p.requires_grad]
    slow = [p for n, p in named if base.is_compact and n.startswith("encoder.")]
    fast = [p for n, p in named if not (base.is_compact and n.startswith("encoder."))]
    groups = [
        {"params": parameters, "lr": lr, "base_lr": lr}
        for parameters, lr in ((slow, recipe.lr * ENCODER_SHARE), (fast, recipe.lr))
        if parameters
    ]
    return torch.optim.AdamW(groups, betas=(0.9, 0.999), weight_decay=recipe.weight_decay)


def compact_loss(base: Base, recipe: Recipe) -> Callable[[Tensor, Tensor], Tensor]:
    """Entropy and each crop's IoU on masks; where the base has the word, entropy against that.

    Local masks may be loose, so the base keeps the word on the outline, if it knows one.
    The statistics of the norms stay the base's: a handful of local chips would spoil them.
    """
    network = cast(CompactNet, base.network)
    before = copy.deepcopy(network).fuse().requires_grad_(False)
    temperature = base.scaling.temperature

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        keep_norms(network)
        inputs = base.inputs(images).to(memory_format=torch.channels_last)
        heads = network.heads(inputs).float()
        mask, outline = heads[:, :1] / temperature, heads[:, 1:]
        again = (labels == BASE_SAYS).flatten(1).all(dim=1)
        total: Tensor = mask.new_zeros(())
        if not again.all():
            total = total + crack_loss(
                mask[~again],
                labels[~again],
                dice_weight=0.0,
                jaccard_weight=recipe.jaccard_weight,
                empty_iou_px=recipe.empty_iou_px,
            )
        if not again.any() and not outline.shape[1]:
            return total
        with torch.no_grad():
            said = before.heads(inputs).float()
        if again.any():
            there = (said[again, :1] / temperature).sigmoid()
            kept = F.binary_cross_entropy_with_logits(mask[again], there)
            total = total + recipe.replay_weight * kept
        if outline.shape[1]:
            total = total + F.binary_cross_entropy_with_logits(outline, said[:, 1:].sigmoid())
        return total

    return loss


def paper_class_loss(base: Base) -> Callable[[Tensor, Tensor], Tensor]:
    """The paper's loss on the two class maps of CrackSAM or of one of its peers."""

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        return paper_loss(base.network.class_logits(base.inputs(images)), labels)  # type: ignore[operator]

    return loss


def paper_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """0.2 cross entropy + 0.8 Dice, as published.

    Dice of the softmax, mean over both classes, sums over the whole batch, squares in the
    denominator, 1e-5 above and below.

    Parameters
    ----------
    logits : float `[N, 2, H, W]`, background and crack
    labels : uint8 `[N, 1, H, W]`, 0, 1, or 255 for pixels left out
    """
    target = labels[:, 0].long()
    known = target != IGNORE
    entropy = F.cross_entropy(logits.float(), target, ignore_index=IGNORE)
    share = logits.float().softmax(dim=1) * known[:, None]
    dice = logits.new_zeros((), dtype=torch.float32)
    for kind in (0, 1):
        p, t = share[:, kind], ((target == kind) & known).float()
        overlap = 2 * (p * t).sum() + PAPER_EPS
        dice = dice + 1 - overlap / ((p * p).sum() + (t * t).sum() + PAPER_EPS)
    return PAPER_CE * entropy + PAPER_DICE * dice / 2


def anchored(recipe: Recipe, rates: torch.optim.Optimizer) -> Callable[[float], None]:
    """After a step, pull the weights that learn back towards where they began."""
    start = [p.detach().clone() for group in rates.param_groups for p in group["params"]]

    @torch.no_grad()
    def pull(factor: float) -> None:
        places = iter(start)
        for group in rates.param_groups:
            share = min(1.0, recipe.anchor * group["base_lr"] * factor)
            for parameter in group["params"]:
                parameter.lerp_(next(places), share)

    return pull if recipe.anchor else lambda factor: None


def save_memory(network: nn.Module) -> None:
    """Recompute the encoder's blocks in the backward pass instead of keeping what they gave.

    A third more computation, and the memory of one block instead of all of them.
    """
    for block in network.image_encoder.blocks:  # type: ignore[union-attr]
        block.forward = partial(checkpoint, block.forward, use_reentrant=False)
