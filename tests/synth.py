"""Rendered truth: cracks of known centre line and width as probability rasters.

A pixel holds the part of it that the crack covers, from its distance to the centre line
(exact for a straight edge through the pixel along its axis). Ends are round caps, so that a
medial axis ends where the centre line does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_filter1d
from scipy.spatial import cKDTree

MARGIN_PX = 16


@dataclass(frozen=True)
class Truth:
    """A rendered crack: probabilities `[height, width]`, its centre line, width and length."""

    kind: str
    probability: np.ndarray
    xy: np.ndarray
    width_px: float

    @property
    def length_px(self) -> float:
        return float(np.hypot(*np.diff(self.xy, axis=0).T).sum())


def line(length, angle_deg, rng):
    t = np.arange(0, length + 0.1, 0.2)
    turn = np.radians(angle_deg)
    return np.stack([t * np.cos(turn), t * np.sin(turn)], -1) + rng.uniform(0, 1, 2)


def arc(radius, length, rng):
    t = rng.uniform(0, 2 * np.pi) + np.arange(0, length, 0.2) / radius
    return radius * np.stack([np.cos(t), np.sin(t)], -1) + rng.uniform(0, 1, 2)


def sinusoid(length, amplitude, period, rng):
    t = np.arange(0, length, 0.1)
    wave = amplitude * np.sin(2 * np.pi * t / period + rng.uniform(0, 2 * np.pi))
    turn = rng.uniform(0, 2 * np.pi)
    c, s = np.cos(turn), np.sin(turn)
    return np.stack([t * c - wave * s, t * s + wave * c], -1) + rng.uniform(0, 1, 2)


def walk(length, rng):
    """A smooth random walk, as a crack wanders."""
    n = int(length / 0.2)
    turn = np.cumsum(gaussian_filter1d(rng.standard_normal(n), 30)) * 0.02
    turn += rng.uniform(0, 2 * np.pi)
    return np.cumsum(0.2 * np.stack([np.cos(turn), np.sin(turn)], -1), axis=0)


def render(kind, xy, width_px):
    """Coverage of a crack, in the middle of a raster just large enough."""
    margin = MARGIN_PX + width_px
    xy = xy - np.floor(xy.min(axis=0) - margin)
    width, height = (np.ceil(xy.max(axis=0) + margin)).astype(int)
    ys, xs = np.mgrid[:height, :width] + 0.5
    d, _ = cKDTree(xy).query(
        np.stack([xs.ravel(), ys.ravel()], -1), distance_upper_bound=width_px / 2 + 2
    )
    coverage = np.clip(0.5 + width_px / 2 - d, 0, 1).reshape(height, width)
    return Truth(kind, coverage, xy, width_px)


def segment(side, begin, end, width_px, square=False):
    """Coverage `[side, side]` of a straight crack between two (x, y), its ends round or square."""
    ys, xs = np.mgrid[:side, :side] + 0.5
    (x0, y0), (x1, y1) = begin, end
    length = np.hypot(x1 - x0, y1 - y0)
    ux, uy = (x1 - x0) / length, (y1 - y0) / length
    along = (xs - x0) * ux + (ys - y0) * uy
    inside = (along >= 0) & (along <= length) if square else 1
    along = np.clip(along, 0, length)
    d = np.hypot(xs - x0 - along * ux, ys - y0 - along * uy)
    return np.clip(0.5 + width_px / 2 - d, 0, 1) * inside


def coded(own, mask):
    """As a model with an outline codes a crack: below 0.5 its mask's number, above its own."""
    return np.where(mask < 0.5, mask, 0.5 + 0.5 * own)


def blurred(probability, sigma=1.0):
    return gaussian_filter(probability, sigma)


def degraded(probability, rng):
    """Blurred, never quite sure (0.9 on, 0.03 off), and noisy."""
    noise = gaussian_filter(rng.standard_normal(probability.shape), 0.7)
    return np.clip(0.87 * gaussian_filter(probability, 1.0) + 0.03 + 0.1 * noise, 0, 1)


def codes(probability):
    return np.round(np.asarray(probability) * 254).astype(np.uint8)


def centre_lines(rng, count):
    """`count` centre lines of each kind: lines at all angles, arcs, sinusoids, walks."""
    for i in range(count):
        yield "line", line(200, 180 * (i + rng.uniform()) / count, rng)
        radius = (25, 40, 60, 100, 200)[i % 5]
        yield "arc", arc(radius, min(5 * radius, 250), rng)
        amplitude, period = ((3, 40), (6, 60), (10, 80), (20, 120), (15, 60))[i % 5]
        yield "sinusoid", sinusoid(220, amplitude, period, rng)
        while True:  # a walk that comes back to itself would be another crack
            xy = walk(250, rng)
            if not _comes_back(xy):
                yield "walk", xy
                break


def _comes_back(xy):
    thinned = xy[::10]
    d = np.hypot(*(thinned[:, None] - thinned[None]).transpose(2, 0, 1))
    apart = np.abs(np.subtract.outer(np.arange(len(thinned)), np.arange(len(thinned)))) * 2.0
    return bool((d < 0.55 * apart - 20).any())
