"""SAM's attention with relative position, through torch's fused kernel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class FastAttention(nn.Module):
    """segment-anything's `Attention` with the same parameters under the same names.

    The decomposed relative position (MViTv2, Li et al. 2022, eq. 4) becomes the kernel's bias,
    built once; scores and softmax never lie in memory as a whole.
    Input and output: float `[B, H, W, C]`.
    """

    def __init__(self, plain: Any) -> None:
        super().__init__()
        self.num_heads = plain.num_heads
        self.qkv = plain.qkv
        self.proj = plain.proj
        self.rel_pos_h = plain.rel_pos_h
        self.rel_pos_w = plain.rel_pos_w

    def forward(self, x: Tensor) -> Tensor:
        b, height, width, _ = x.shape
        heads = self.qkv(x).reshape(b, height * width, 3, self.num_heads, -1)
        q, k, v = heads.permute(2, 0, 3, 1, 4).unbind(0)
        bias = self._bias(q, height, width)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        y = y.transpose(1, 2).reshape(b, height, width, -1)
        out: Tensor = self.proj(y)
        return out

    def _bias(self, q: Tensor, height: int, width: int) -> Tensor:
        """`[B, heads, N, N]`: q . R_h[row distance] + q . R_w[column distance]."""
        b, n, tokens, dim = q.shape
        grid = q.reshape(b, n, height, width, dim)
        rows = torch.einsum("bnhwd,hkd->bnhwk", grid, _by_distance(self.rel_pos_h, height))
        columns = torch.einsum("bnhwd,wkd->bnhwk", grid, _by_distance(self.rel_pos_w, width))
        both = rows[..., :, None] + columns[..., None, :]
        return both.reshape(b, n, tokens, tokens)


def use_fast_attention(blocks: Iterable[Any]) -> None:
    """Put `FastAttention` in the place of segment-anything's, sharing its parameters."""
    for block in blocks:
        block.attn = FastAttention(block.attn)


def _by_distance(table: Tensor, size: int) -> Tensor:
    """Table rows by query and key place: `[2 size - 1, d]` -> `[size, size, d]`."""
    place = torch.arange(size, device=table.device)
    return table[place[:, None] - place[None, :] + size - 1]
