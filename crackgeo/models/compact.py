"""`compact`: the small crack network that ships with crackgeo.

An EfficientNet-Lite0 encoder (Tan and Le 2019, without squeeze-and-excite, ReLU6) and a
narrow U-Net decoder that ends at full resolution, because a hairline of two pixels is lost
at half of it. 448 x 448 pixels cost 9.3 GFLOP, with a crack in them 9.8.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

STEM_CHANNELS = 32
DECODER_CHANNELS = (112, 64, 48, 32, 16)
OUTLINE_AT = 0.75  # what `with_rim` makes of P = 0.5
OUTLINE_CHANNELS = 6  # with 8 a tile would cost 10 GFLOP
PART_PX = 64  # the outline is looked at in squares of that side, on a processor
MOST_PARTS = 0.4  # of the squares; from there on (bf16 .35, fp32 .48) a look at all is faster
_BN_EPS = 1e-3  # as the ImageNet weights were trained


@dataclass(frozen=True)
class Stage:
    """One encoder stage: `repeats` inverted residual blocks, the first with `stride`."""

    repeats: int
    kernel: int
    stride: int
    expand: int
    channels: int


LITE0_STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
HEAD_WEIGHT, HEAD_BIAS = "final.head.weight", "final.head.bias"  # of the mask
OUTLINE = "final.outline."  # what the names of its tensors begin with
SKIP_STAGES = (0, 1, 2, 4)  # last stage at strides 2, 4, 8, 16


class ConvNorm(nn.Module):
    """Convolution, batch norm and, unless `activate` is False, ReLU6."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        activate: bool = True,
    ) -> None:
        super().__init__()
        pad = (kernel - 1) // 2
        self.conv: nn.Module = nn.Conv2d(
            inputs, outputs, kernel, stride, pad, groups=groups, bias=False
        )
        self.norm: nn.Module = nn.BatchNorm2d(outputs, eps=_BN_EPS, momentum=0.02)
        self.activate = activate
        self.depthwise = groups > 1

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self._convolve(x))
        return F.relu6(x, inplace=True) if self.activate else x

    def _convolve(self, x: Tensor) -> Tensor:
        if self.depthwise and self.training and torch.is_autocast_enabled("cpu"):
            # gradients of 5 x 5 or strided ones are two to seven times slower in bf16
            with torch.autocast("cpu", enabled=False):
                return self.conv(x.float()).to(torch.bfloat16)  # type: ignore[no-any-return]
        y: Tensor = self.conv(x)
        return y

    def fuse(self) -> None:
        """Fold the batch norm into the convolution, for inference."""
        if isinstance(self.conv, nn.Conv2d) and isinstance(self.norm, nn.BatchNorm2d):
            self.conv = fuse_conv_bn_eval(self.conv, self.norm)
            self.norm = nn.Identity()


class InvertedResidual(nn.Module):
    """Expand 1 x 1, filter depthwise, project 1 x 1; added to the input where shapes agree."""

    def __init__(self, inputs: int, stage: Stage, stride: int) -> None:
        super().__init__()
        hidden = inputs * stage.expand
        layers: list[nn.Module] = [ConvNorm(inputs, hidden)] if stage.expand > 1 else []
        layers.append(ConvNorm(hidden, hidden, stage.kernel, stride, groups=hidden))
        layers.append(ConvNorm(hidden, stage.channels, activate=False))
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.residual else y


class Lite0Encoder(nn.Module):
    """EfficientNet-Lite0 up to its last block; gives features at strides 2, 4, 8, 16 and 32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvNorm(3, STEM_CHANNELS, 3, 2)
        stages: list[nn.Module] = []
        channels = STEM_CHANNELS
        for stage in LITE0_STAGES:
            blocks = []
            for i in range(stage.repeats):
                blocks.append(InvertedResidual(channels, stage, stage.stride if i == 0 else 1))
                channels = stage.channels
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        features = []
        for i, stage in enumerate(self.stages):
            x = stage(x)
            if i in SKIP_STAGES:
                features.append(x)
        return [*features, x]


class UpBlock(nn.Module):
    """Project, double the size, join with the skip features, two 3 x 3 convolutions."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.project = ConvNorm(inputs, outputs)
        self.first = ConvNorm(outputs + skip, outputs, 3)
        self.second = ConvNorm(outputs, outputs, 3)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = F.interpolate(self.project(x), scale_factor=2.0, mode="bilinear", align_corners=False)
        y: Tensor = self.second(self.first(torch.cat((x, skip), dim=1)))
        return y


class FinalBlock(nn.Module):
    """Back to full resolution: the decoder's features beside a shallow look at the image itself."""

    def __init__(self, inputs: int, channels: int, outline: bool) -> None:
        super().__init__()
        self.project = ConvNorm(inputs, channels)
        self.detail = ConvNorm(3, channels // 2, 3)
        self.mix = ConvNorm(channels + channels // 2, channels, 3)
        self.head = nn.Conv2d(channels, 1, 1)
        self.outline = OutlineHead(channels + channels // 2, channels) if outline else None

    def forward(self, x: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        x = F.interpolate(self.project(x), scale_factor=2.0, mode="bilinear", align_corners=False)
        joined = torch.cat((x, self.detail(image)), dim=1)
        return joined, self.mix(joined)


def with_rim(mask: Tensor, outline: Tensor) -> Tensor:
    """Logits that say both where cracks are and where they end.

    Labels of many sets are wider than the crack, and the mask follows them, so that its lines hold
    together. Where the mask says crack, p = 0.5 + P / 2, P the probability that the pixel is in
    the crack itself, given that there is one; what is in the mask alone becomes a rim just
    above 0.5. No pixel changes its side of 0.5. (logit of (1 + sigmoid(z)) / 2 = log(1 + 2 exp z).)
    """
    return torch.where(mask > 0, F.softplus(outline + math.log(2)), mask)


def _parts_with_crack(mask: Tensor) -> list[tuple[int, slice, slice]] | None:
    """Picture, rows and columns of the squares of `PART_PX` in which the mask has a crack.

    None where all is to be looked at: there is crack nearly everywhere, or this is no inference on
    a processor. A card would have to wait for the answer, and an exported graph cannot branch.
    """
    if mask.device.type != "cpu" or mask.requires_grad or torch.compiler.is_exporting():
        return None
    height, width = mask.shape[-2:]
    has_crack = F.max_pool2d(mask, PART_PX, ceil_mode=True) > 0
    squares = torch.nonzero(has_crack).tolist()
    if len(squares) > MOST_PARTS * has_crack.numel():
        return None
    corners = ((picture, row * PART_PX, col * PART_PX) for picture, _, row, col in squares)
    return [
        (
            picture,
            slice(top, min(top + PART_PX, height)),
            slice(left, min(left + PART_PX, width)),
        )
        for picture, top, left in corners
    ]


class OutlineHead(nn.Module):
    """The crack's own outline, from what the mask is made of and once more from before that."""

    def __init__(self, joined: int, mixed: int) -> None:
        super().__init__()
        self.look = ConvNorm(joined, OUTLINE_CHANNELS, 3)
        self.head = nn.Conv2d(OUTLINE_CHANNELS + mixed, 1, 1)

    def forward(self, joined: Tensor, mixed: Tensor) -> Tensor:
        logit: Tensor = self.head(torch.cat((self.look(joined), mixed), dim=1))
        return logit

    def part(self, joined: Tensor, mixed: Tensor, rows: slice, cols: slice) -> Tensor:
        """The logits of a part of a picture, with the pixel around it that its edge depends on."""
        top, left = max(0, rows.start - 1), max(0, cols.start - 1)
        around = (..., slice(top, rows.stop + 1), slice(left, cols.stop + 1))
        down, right = rows.start - top, cols.start - left
        found: Tensor = self(joined[around], mixed[around])
        height, width = rows.stop - rows.start, cols.stop - cols.start
        return found[..., down : down + height, right : right + width]


class CompactNet(nn.Module):
    """The whole network.

    Input: float `[N, 3, H, W]`, RGB scaled to [-1, 1], H and W multiples of 32.
    Output: float crack logits `[N, 1, H, W]`.

    Parameters
    ----------
    outline : whether it knows the crack's own outline beside the mask, see `with_rim`
    """

    def __init__(self, outline: bool = False) -> None:
        super().__init__()
        self.encoder = Lite0Encoder()
        skips = [LITE0_STAGES[i].channels for i in SKIP_STAGES][::-1]
        deep = LITE0_STAGES[-1].channels
        ups = []
        for skip, width in zip(skips, DECODER_CHANNELS, strict=False):
            ups.append(UpBlock(deep, skip, width))
            deep = width
        self.ups = nn.ModuleList(ups)
        self.final = FinalBlock(deep, DECODER_CHANNELS[-1], outline)

    def forward(self, image: Tensor) -> Tensor:
        joined, mixed = self._features(image)
        mask: Tensor = self.final.head(mixed)
        outline = self.final.outline
        if outline is None:
            return mask
        parts = _parts_with_crack(mask)
        if parts is None:
            return with_rim(mask, outline(joined, mixed))
        for picture, rows, cols in parts:
            one = slice(picture, picture + 1)
            part = mask[one, :, rows, cols]
            part.copy_(with_rim(part, outline.part(joined[one], mixed[one], rows, cols)))
        return mask

    def heads(self, image: Tensor) -> Tensor:
        """Logits of the mask and, if it knows it, of the outline: float `[N, 1 or 2, H, W]`."""
        joined, mixed = self._features(image)
        mask: Tensor = self.final.head(mixed)
        if self.final.outline is None:
            return mask
        return torch.cat((mask, self.final.outline(joined, mixed)), dim=1)

    def _features(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """At full resolution, before and after they are mixed."""
        *skips, x = self.encoder(image)
        for up, skip in zip(self.ups, reversed(skips), strict=True):
            x = up(x, skip)
        features: tuple[Tensor, Tensor] = self.final(x, image)
        return features

    def fuse(self) -> CompactNet:
        """Fold every batch norm into its convolution, for inference: same output, fewer passes."""
        self.eval()
        for module in self.modules():
            if isinstance(module, ConvNorm):
                module.fuse()
        return self


def load_compact(tensors: Mapping[str, Tensor]) -> CompactNet:
    """The network with stored weights (any float type, computed in fp32), fused for inference."""
    return restore_compact(tensors).fuse()


def restore_compact(tensors: Mapping[str, Tensor]) -> CompactNet:
    """The network with stored weights as `load_compact`, its norms apart, to train on."""
    network = CompactNet(has_outline(tensors))
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return network


def has_outline(tensors: Mapping[str, Tensor]) -> bool:
    """Whether weights know the crack's own outline."""
    return any(name.startswith(OUTLINE) for name in tensors)


def without_outline(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights that give the same masks alone."""
    return {k: v for k, v in tensors.items() if not k.startswith(OUTLINE)}
