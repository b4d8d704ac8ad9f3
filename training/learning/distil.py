"""Teach `compact` what a large model sees: `teacher = "cracksam.safetensors"` in `[train]`.

The teacher's probabilities take the place of masks, so any imagery will do: the column `mask` of
the manifest is not looked at. With a `taught_share` below 1 they stand beside masks. Hinton,
Vinyals and Dean 2015; at temperature 1, as a pixel has two classes only.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from crackgeo.errors import ModelError, UsageError
from crackgeo.models.compact import without_outline
from crackgeo.models.protocol import Segmenter
from crackgeo.models.registry import load_model

from ..pictures.data import CrackDataset
from ..pictures.records import Record, read_image
from .checkpoints import CHECKPOINT_SUFFIX, read_state
from .networks import load_network

Teacher = Callable[[Tensor], Tensor]  # [N, 3, H, W] in [-1, 1] to [N, 1, H, W], 0 to 1


class UnlabelledDataset(CrackDataset):
    """The same crops, of pictures without masks; their labels are empty."""

    def read(self, record: Record) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """One picture, and nothing said about it."""
        image = read_image(record.image)
        return image, np.zeros(image.shape[:2], np.uint8)


def load_teacher(name_or_path: str, crop_px: int, device: torch.device) -> Teacher:
    """The model that teaches.

    Parameters
    ----------
    name_or_path : a model, or a checkpoint of `crackgeo train`, which teaches on `device`
    crop_px : side of the crops
    device : where the pupil is

    Raises
    ------
    ModelError
        No such model, or the checkpoint does not say which network it is of.
    UsageError
        Crops are not of its size; it says where outlines lie, not how sure its mask is.
    """
    if name_or_path.endswith(CHECKPOINT_SUFFIX):
        network = _trained(Path(name_or_path))
        network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return partial(teach_here, network)
    teacher = load_model(name_or_path)
    if teacher.info.outline:
        raise UsageError(
            f"the teacher {name_or_path} says above 0.5 where outlines lie, not what its mask is",
            "name the checkpoint that it was exported from, or a model without an outline",
        )
    if crop_px != teacher.info.tile_px:
        raise UsageError(
            f"the teacher {name_or_path} sees {teacher.info.tile_px} px, crops have {crop_px}",
            f"set crop_px = {teacher.info.tile_px} in [augment]",
        )
    return partial(teach, teacher)


def _trained(path: Path) -> nn.Module:
    """The network of a checkpoint, without its outline."""
    state = read_state(path)
    try:
        return load_network(state["config"]["train"]["network"], without_outline(state["ema"]))
    except (KeyError, RuntimeError) as error:
        raise ModelError(
            f"{path}: does not say which network it is of ({error})",
            "name a checkpoint that crackgeo train wrote",
        ) from error


@torch.no_grad()
def teach_here(network: nn.Module, images: Tensor) -> Tensor:
    """What a network on the same device says, in bf16: float `[N, 1, H, W]`, 0 to 1."""
    with torch.autocast(images.device.type, torch.bfloat16):
        logits: Tensor = network(images)
    return logits.float().sigmoid()


def teach(teacher: Segmenter, images: Tensor) -> Tensor:
    """What the teacher says of a batch `[N, 3, H, W]` in [-1, 1]: float `[N, 1, H, W]`, 0 to 1."""
    pixels = ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    said = teacher.predict(pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy())
    return torch.from_numpy(said)[:, None].to(images.device)


def taught_loss(logits: Tensor, said: Tensor, dice_weight: float) -> Tensor:
    """Binary cross entropy and soft Dice against probabilities, as `losses.crack_loss` for masks.

    Parameters
    ----------
    logits : float `[N, 1, H, W]`
    said : float `[N, 1, H, W]`, 0 to 1
    dice_weight : of the Dice term
    """
    p = logits.sigmoid()
    dice = 1 - (2 * (p * said).sum() + 1) / ((p * p).sum() + (said * said).sum() + 1)
    return F.binary_cross_entropy_with_logits(logits, said) + dice_weight * dice
