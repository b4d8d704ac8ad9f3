"""Rows of tiles of one raster computed apart, and put together as if in one go.

Two rows of tiles overlap in the first `overlap_px` rows of the lower one. Who computes only one of
them keeps the probabilities of its tiles there, its edges; whoever has both adds them up in
the order of `stitch`, and gets the very numbers that it would.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .specs import PROB_NODATA
from .stitch import Prediction, mean_codes, tile_weight
from .tiling import TilePlan

Rows = tuple[int, NDArray[np.uint8], dict[str, Any]]  # first row, codes, what to remember with them
Edge = list[tuple[int, NDArray[np.float32]]]  # first column of a tile, `[overlap_px, size_px]`


@dataclass
class Edges:
    """Keeps the edges of a run of rows of tiles while its predictions pass by.

    Parameters
    ----------
    plan : the rows of tiles
    upper, lower : of the first row of tiles and of the last, from left to right
    """

    plan: TilePlan
    upper: Edge = field(default_factory=list)
    lower: Edge = field(default_factory=list)

    def watch(self, predictions: Iterator[Prediction]) -> Iterator[Prediction]:
        """The same predictions."""
        rows, spec = self.plan.rows, self.plan.spec
        for tile, probability in predictions:
            row = self.plan.lattice_row(tile)
            if row == rows[0]:
                self.upper.append((tile.col, probability[: spec.overlap_px].copy()))
            if row == rows[-1]:
                self.lower.append((tile.col, probability[spec.step_px :].copy()))
            yield tile, probability


@dataclass(frozen=True)
class Piece:
    """Some rows of tiles of a raster, computed apart from those above and below.

    Parameters
    ----------
    rows : blocks of raster rows from its first, as if there were no other tiles
    upper, lower : its edges
    """

    rows: list[Rows]
    upper: Edge
    lower: Edge


def join_pieces(plan: TilePlan, pieces: Iterable[Piece]) -> Generator[Rows, None, None]:
    """Blocks of rows as the whole gives them, of pieces that follow each other from its first row.

    Parameters
    ----------
    plan : of the whole part
    pieces : the first may begin anywhere; the others, where a row of tiles does
    """
    above: Edge = []
    for piece in pieces:
        for number, (row, codes, notes) in enumerate(piece.rows):
            if number == 0 and above:
                seam = codes[: plan.spec.overlap_px]
                codes = np.concatenate(
                    [join_edges(plan, above, piece.upper, seam), codes[len(seam) :]]
                )
            yield row, codes, notes
        above = piece.lower


def join_edges(
    plan: TilePlan, above: Edge, below: Edge, codes: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Codes of the rows where two rows of tiles meet.

    Parameters
    ----------
    plan : of the whole part
    above, below : lower edge of the upper row of tiles, upper edge of the lower one
    codes : of the lower one alone, uint8 `[overlap_px, part width]`; they tell which pixels count
    """
    spec = plan.spec
    weight = tile_weight(spec)
    left = plan.cols[0] * spec.step_px
    width = plan.strip(plan.rows[0]).width
    weighted = np.zeros((spec.overlap_px, width), np.float32)
    total = np.zeros_like(weighted)
    for edge, share in ((above, weight[spec.step_px :]), (below, weight[: spec.overlap_px])):
        for col, probability in edge:
            cut = np.s_[:, col - left : col - left + spec.size_px]
            weighted[cut] += share * probability
            total[cut] += share
    first = plan.part.col - left
    here = np.s_[: len(codes), first : first + plan.part.width]
    both = mean_codes(weighted[here], total[here])
    return np.where(codes == PROB_NODATA, np.uint8(PROB_NODATA), both)
