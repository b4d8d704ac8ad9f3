"""What CrackSAM adds to SAM's frozen blocks: LoRA and adapters, apart for training, or merged.

LoRA (Hu et al. 2022): W x + B A x on any of q, k, v and o, without the alpha / r factor.
Adapters (Houlsby et al. 2019; parallel form: He et al. 2022): y + Up(GELU(Down(y))) after the
attention's projection, and mlp(x) + s Up(GELU(Down(x))) beside the MLP.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import UsageError

PAPER_SCALE = 0.2  # the paper's best and its README's; its code defaults to 0.1


@dataclass(frozen=True)
class DeltaSpec:
    """What is added to every block; nothing of it means that the head alone learns.

    Parameters
    ----------
    lora : the projections with LoRA, some of the letters q, k, v, o
    rank : of LoRA
    adapter_dim : middle dimension of the adapters, 0 for none
    adapter_scale : s, the weight of the adapter beside the MLP
    """

    lora: str = ""
    rank: int = 0
    adapter_dim: int = 0
    adapter_scale: float = PAPER_SCALE

    def __post_init__(self) -> None:
        if set(self.lora) - set("qkvo") or len(set(self.lora)) != len(self.lora):
            raise UsageError(f"LoRA goes on some of q, k, v, o, not on {self.lora!r}")
        if bool(self.lora) != (self.rank > 0):
            raise UsageError(f"LoRA on {self.lora!r} with rank {self.rank}: one without the other")
        if self.rank < 0 or self.adapter_dim < 0:
            raise UsageError("LoRA's rank and the adapters' dimension cannot be negative")
        if not math.isfinite(self.adapter_scale):
            raise UsageError(f"the adapters' scale must be a number, not {self.adapter_scale}")

    @property
    def kind(self) -> str:
        """`lora`, `adapter`, `both` or `head`."""
        if self.adapter_dim:
            return "both" if self.lora else "adapter"
        return "lora" if self.lora else "head"


class Adapter(nn.Module):
    """Up(GELU(Down(x))), with torch's own start values: not zero at the start, as published."""

    def __init__(self, dim: int, middle: int) -> None:
        super().__init__()
        self.down = nn.Linear(dim, middle)
        self.up = nn.Linear(middle, dim)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.up(F.gelu(self.down(x)))
        return y


class DeltaLinear(nn.Linear):
    """A projection with LoRA on parts of its output and, if wanted, an adapter behind it.

    Parameters
    ----------
    dim : width of input and of each part of the output
    parts : names of the output's parts in their order
    lora : the parts with LoRA
    rank : of LoRA
    adapter_dim : middle dimension of the adapter behind, 0 for none
    """

    def __init__(self, dim: int, parts: str, lora: str, rank: int, adapter_dim: int) -> None:
        super().__init__(dim, dim * len(parts))
        self.parts = parts
        self.lora_a = nn.ParameterDict({p: torch.empty(rank, dim) for p in parts if p in lora})
        self.lora_b = nn.ParameterDict({p: torch.zeros(dim, rank) for p in parts if p in lora})
        for a in self.lora_a.values():
            nn.init.kaiming_uniform_(a, a=math.sqrt(5))
        self.adapter = Adapter(dim, adapter_dim) if adapter_dim else None

    def forward(self, x: Tensor) -> Tensor:
        y = F.linear(x, self.weight, self.bias)
        if self.lora_a:
            y = y + torch.cat([self._lora(x, part) for part in self.parts], dim=-1)
        return y if self.adapter is None else y + self.adapter(y)

    def _lora(self, x: Tensor, part: str) -> Tensor:
        if part not in self.lora_a:
            return torch.zeros_like(x)
        return F.linear(F.linear(x, self.lora_a[part]), self.lora_b[part])

    def merged(self) -> nn.Module:
        """The same function with LoRA inside the weight."""
        weight = self.weight.detach().clone()
        for part, a in self.lora_a.items():
            first = self.parts.index(part) * self.in_features
            weight[first : first + self.in_features] += self.lora_b[part] @ a
        linear = _linear(weight, self.bias.detach())
        return linear if self.adapter is None else ResidualAdapter(linear, self.adapter)


class ResidualAdapter(nn.Module):
    """y + adapter(y), y = linear(x)."""

    def __init__(self, linear: nn.Linear, adapter: Adapter) -> None:
        super().__init__()
        self.linear = linear
        self.adapter = adapter

    def forward(self, x: Tensor) -> Tensor:
        y = self.linear(x)
        out: Tensor = y + self.adapter(y)
        return out


class AdaptedMlp(nn.Module):
    """SAM's MLP with an adapter beside it; the MLP's parameters keep their names."""

    def __init__(self, mlp: Any, adapter: Adapter, scale: float) -> None:
        super().__init__()
        self.lin1 = mlp.lin1
        self.lin2 = mlp.lin2
        self.adapter = adapter
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.lin2(F.gelu(self.lin1(x))) + self.scale * self.adapter(x)
        return y

    def merged(self) -> nn.Module:
        """The same function as one wider MLP: both branches are Up(GELU(Down(x)))."""
        down, up = self.adapter.down, self.adapter.up
        first = _linear(_cat(self.lin1.weight, down.weight), _cat(self.lin1.bias, down.bias))
        second = _linear(
            _cat(self.lin2.weight, self.scale * up.weight, dim=1),
            self.lin2.bias + self.scale * up.bias,
        )
        return nn.Sequential(first, nn.GELU(), second)


def attach_deltas(blocks: Iterable[Any], spec: DeltaSpec) -> None:
    """Put new deltas into every block; SAM's own parameters keep their names."""
    qkv_lora = "".join(part for part in spec.lora if part != "o")
    out_lora = "o" if "o" in spec.lora else ""
    for block in blocks:
        attention, dim = block.attn, block.attn.proj.in_features
        if qkv_lora:
            attention.qkv = DeltaLinear(dim, "qkv", qkv_lora, spec.rank, 0)
        if out_lora or spec.adapter_dim:
            attention.proj = DeltaLinear(dim, "o", out_lora, spec.rank, spec.adapter_dim)
        if spec.adapter_dim:
            adapter = Adapter(dim, spec.adapter_dim)
            block.mlp = AdaptedMlp(block.mlp, adapter, spec.adapter_scale)


def merge_deltas(blocks: Iterable[Any]) -> None:
    """Fold every delta that can be folded into the block's own weights."""
    for block in blocks:
        for owner, name in ((block.attn, "qkv"), (block.attn, "proj"), (block, "mlp")):
            module = getattr(owner, name)
            if isinstance(module, DeltaLinear | AdaptedMlp):
                setattr(owner, name, module.merged())


def delta_parameters(network: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters of all deltas of a network that is not merged."""
    for name, parameter in network.named_parameters():
        if ".lora_" in name or ".adapter." in name:
            yield parameter


def _cat(a: Tensor, b: Tensor, dim: int = 0) -> Tensor:
    return torch.cat((a, b), dim)


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    linear.weight = nn.Parameter(weight, requires_grad=False)
    linear.bias = nn.Parameter(bias, requires_grad=False)
    return linear
