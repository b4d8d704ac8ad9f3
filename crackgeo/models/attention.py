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
    built once; scores and softmax never lie in memory as a whole, except on processors in bf16.
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
        rows, columns = self._relative(q, height, width)
        # torch's kernel for processors is slow in bf16: half the speed of plain products
        plain = x.device.type == "cpu" and x.dtype == torch.bfloat16
        y = (attend_by_products if plain else attend_in_kernel)(q, k, v, rows, columns)
        y = y.transpose(1, 2).reshape(b, height, width, -1)
        out: Tensor = self.proj(y)
        return out

    def _relative(self, q: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
        """q . R_h[row distance] `[B, heads, N, H]`, and the same of columns `[B, heads, N, W]`."""
        b, n, _, dim = q.shape
        grid = q.reshape(b, n, height, width, dim)
        rows = torch.einsum("bnhwd,hkd->bnhwk", grid, _by_distance(self.rel_pos_h, height))
        columns = torch.einsum("bnhwd,wkd->bnhwk", grid, _by_distance(self.rel_pos_w, width))
        return rows.flatten(2, 3), columns.flatten(2, 3)


def attend_in_kernel(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Attention with relative position as the bias of torch's fused kernel.

    Parameters
    ----------
    q, k, v : float `[B, heads, N, d]`, N = H W tokens
    rows, columns : the bias of each token for each row `[B, heads, N, H]` and column
        `[B, heads, N, W]` of keys

    Returns
    -------
    float `[B, heads, N, d]`
    """
    bias = (rows[..., :, None] + columns[..., None, :]).flatten(-2)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)


def attend_by_products(q: Tensor, k: Tensor, v: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """As `attend_in_kernel`, by two products: (q, rows, columns) . (k, its row, its column).

    A key's row and column are unit vectors, so the product picks the bias from its two parts.
    """
    height, width = rows.shape[-1], columns.shape[-1]
    row = torch.eye(height, dtype=k.dtype, device=k.device).repeat_interleave(width, dim=0)
    column = torch.eye(width, dtype=k.dtype, device=k.device).repeat(height, 1)
    place = torch.cat((row, column), dim=1).expand(*k.shape[:2], -1, -1)
    wide_q = torch.cat((q * q.shape[-1] ** -0.5, rows, columns), dim=-1)
    wide_k = torch.cat((k, place), dim=-1)
    return (wide_q @ wide_k.transpose(-1, -2)).softmax(-1) @ v


def use_fast_attention(blocks: Iterable[Any]) -> None:
    """Put `FastAttention` in the place of segment-anything's, sharing its parameters."""
    for block in blocks:
        block.attn = FastAttention(block.attn)


def _by_distance(table: Tensor, size: int) -> Tensor:
    """Table rows by query and key place: `[2 size - 1, d]` -> `[size, size, d]`."""
    place = torch.arange(size, device=table.device)
    return table[place[:, None] - place[None, :] + size - 1]
