"""Stand-ins that need no torch and no files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray

from crackgeo.grid import Grid, Window
from crackgeo.models.protocol import ModelInfo


@dataclass
class ArrayImage:
    """An image source in memory; grey `[H, W]` becomes RGB."""

    pixels: NDArray[np.uint8]
    valid: NDArray[np.bool_]

    @property
    def grid(self) -> Grid:
        height, width = self.pixels.shape
        return Grid(width, height, Affine(0.002, 0, 500000, 0, -0.002, 5400000), None)

    def read(self, window: Window) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        image = np.zeros((window.height, window.width, 3), np.uint8)
        valid = np.zeros((window.height, window.width), np.bool_)
        inside = window.intersect(self.grid.window)
        if inside is not None:
            there = np.s_[inside.row : inside.row_end, inside.col : inside.col_end]
            row, col = inside.row - window.row, inside.col - window.col
            here = np.s_[row : row + inside.height, col : col + inside.width]
            valid[here] = self.valid[there]
            image[here] = (self.pixels[there] * self.valid[there])[..., None]
        return image, valid


class IdentityModel:
    """Gives the red channel back as probability: code v in, code v out."""

    def __init__(self, batch_size: int = 3) -> None:
        self.info = ModelInfo("identity", "0" * 64)
        self.batch_size = batch_size
        self.tiles = 0

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.tiles += len(images)
        return (images[..., 0] / np.float32(254)).astype(np.float32)


class ContextModel(IdentityModel):
    """A model whose answer depends on everything in its tile, like a network's."""

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.tiles += len(images)
        mean = images.mean(axis=(1, 2, 3), keepdims=False) / 255
        return (images[..., 0] / 510 + mean[:, None, None] / 2).astype(np.float32)
