"""`compact`: the small crack network that ships with crackgeo.

An EfficientNet-Lite0 encoder (Tan and Le 2019, without squeeze-and-excite, ReLU6) and a
narrow U-Net decoder that ends at full resolution, because a hairline of two pixels is lost
at half of it. 448 x 448 pixels cost about 9.5 GFLOP.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

STEM_CHANNELS = 32
DECODER_CHANNELS = (112, 64, 48, 32, 16)
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

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        self.project = ConvNorm(inputs, channels)
        self.detail = ConvNorm(3, channels // 2, 3)
        self.mix = ConvNorm(channels + channels // 2, channels, 3)
        self.head = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        x = F.interpolate(self.project(x), scale_factor=2.0, mode="bilinear", align_corners=False)
        x = self.mix(torch.cat((x, self.detail(image)), dim=1))
        logit: Tensor = self.head(x)
        return logit


class CompactNet(nn.Module):
    """The whole network.

    Input: float `[N, 3, H, W]`, RGB scaled to [-1, 1], H and W multiples of 32.
    Output: float crack logits `[N, 1, H, W]`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Lite0Encoder()
        skips = [LITE0_STAGES[i].channels for i in SKIP_STAGES][::-1]
        deep = LITE0_STAGES[-1].channels
        ups = []
        for skip, width in zip(skips, DECODER_CHANNELS, strict=False):
            ups.append(UpBlock(deep, skip, width))
            deep = width
        self.ups = nn.ModuleList(ups)
        self.final = FinalBlock(deep, DECODER_CHANNELS[-1])

    def forward(self, image: Tensor) -> Tensor:
        *skips, x = self.encoder(image)
        for up, skip in zip(self.ups, reversed(skips), strict=True):
            x = up(x, skip)
        logit: Tensor = self.final(x, image)
        return logit

    def fuse(self) -> CompactNet:
        """Fold every batch norm into its convolution, for inference: same output, fewer passes."""
        self.eval()
        for module in self.modules():
            if isinstance(module, ConvNorm):
                module.fuse()
        return self


def load_compact(tensors: Mapping[str, Tensor]) -> CompactNet:
    """The network with stored weights (any float type, computed in fp32), fused for inference."""
    network = CompactNet()
    network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    return network.fuse()
