"""CrackSAM's network, made of segment-anything's own modules.

Against SAM: 448-px tiles, no prompt, two mask tokens (background and crack), deltas in every
block (`deltas.py`). Ge et al. 2024, "Fine-tuning vision foundation model for crack segmentation
in civil infrastructures"; Kirillov et al. 2023, "Segment Anything".
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ModelError
from ..specs import TILE_PX
from .attention import use_fast_attention
from .deltas import DeltaSpec, attach_deltas, delta_parameters, merge_deltas

BACKGROUND, CRACK = 0, 1
_DECODER_HEADS = 8  # as in every SAM; the one size that no tensor's shape tells
_PACKAGE = "segment_anything"


@dataclass(frozen=True)
class SamConfig:
    """Sizes of a SAM network.

    Parameters
    ----------
    embed_dim, depth, num_heads : of the image encoder (a ViT)
    global_blocks : its blocks that attend to all tokens; the others attend within windows
    mlp_dim : width of the encoder's MLPs
    window : side of a window, tokens
    patch_px : side of a token, pixels
    prompt_dim : width of neck, prompt encoder and mask decoder
    decoder_depth, decoder_mlp_dim, downsample : of the two-way transformer
    iou_depth, iou_hidden : of the head that rates masks
    mask_channels : of the mask prompt's encoder
    """

    embed_dim: int
    depth: int
    num_heads: int
    global_blocks: tuple[int, ...]
    mlp_dim: int
    window: int = 14
    patch_px: int = 16
    prompt_dim: int = 256
    decoder_depth: int = 2
    decoder_mlp_dim: int = 2048
    downsample: int = 2
    iou_depth: int = 3
    iou_hidden: int = 256
    mask_channels: int = 16

    def __post_init__(self) -> None:
        fits = (
            self.embed_dim % self.num_heads == 0
            and TILE_PX % self.patch_px == 0
            and self.prompt_dim // self.downsample % _DECODER_HEADS == 0
        )
        if not fits:
            raise ModelError(f"no SAM network has these sizes: {self}")

    @property
    def grid(self) -> int:
        """Tokens along the side of a tile."""
        return TILE_PX // self.patch_px


VITS = {
    "vit_b": SamConfig(768, 12, 12, (2, 5, 8, 11), 3072),
    "vit_l": SamConfig(1024, 24, 16, (5, 11, 17, 23), 4096),
    "vit_h": SamConfig(1280, 32, 16, (7, 15, 23, 31), 5120),
}


class CrackSam(nn.Module):
    """Image encoder, prompt encoder and mask decoder of SAM, giving crack logits.

    Input: float `[N, 3, 448, 448]`, RGB from 0 to 1.
    Output: float crack logits `[N, 1, 448, 448]`, the crack's minus the background's.

    State dict keys are SAM's own; those of the deltas are added to them.
    """

    image_encoder: Any  # segment-anything states no types
    prompt_encoder: Any
    mask_decoder: Any

    def __init__(self, config: SamConfig, delta: DeltaSpec) -> None:
        super().__init__()
        self.config = config
        self.delta = delta
        self.image_encoder = _image_encoder(config)
        self.prompt_encoder = _prompt_encoder(config)
        self.mask_decoder = _mask_decoder(config)
        attach_deltas(self.image_encoder.blocks, delta)

    def forward(self, images: Tensor) -> Tensor:
        tokens, features = self._decode(self.image_encoder(images))
        head = self.mask_decoder.output_hypernetworks_mlps
        # The logits are linear in the hypernetworks' output, so one difference replaces two maps.
        weight = head[CRACK](tokens[:, CRACK]) - head[BACKGROUND](tokens[:, BACKGROUND])
        return self._upsample(_weighted_sum(weight[:, None], features), images)

    def class_logits(self, images: Tensor) -> Tensor:
        """Logits of background and crack `[N, 2, 448, 448]`, as the published code gives them."""
        tokens, features = self._decode(self.image_encoder(images))
        head = self.mask_decoder.output_hypernetworks_mlps
        weights = torch.stack([mlp(tokens[:, i]) for i, mlp in enumerate(head)], dim=1)
        return self._upsample(_weighted_sum(weights, features), images)

    def set_precision(self, dtype: torch.dtype) -> None:
        """Run attention and MLPs in `dtype`; the residual stream, neck and decoder stay in fp32.

        Those two hold 96 % of the arithmetic. A residual stream in bf16 would lose what
        32 blocks add to it, and the neck's layer norm squares values beyond fp16's range.
        """
        if dtype == torch.float32:
            return
        for block in self.image_encoder.blocks:
            block.attn.to(dtype)
            block.mlp.to(dtype)
            block.norm1 = CastNorm(block.norm1, dtype)
            block.norm2 = CastNorm(block.norm2, dtype)

    def _decode(self, embedding: Tensor) -> tuple[Tensor, Tensor]:
        """Mask tokens `[N, 2, C]` and upscaled features `[N, C / 8, 4 h, 4 w]`."""
        decoder, prompt = self.mask_decoder, self.prompt_encoder
        n, channels, height, width = embedding.shape
        start = torch.cat((decoder.iou_token.weight, decoder.mask_tokens.weight))
        source = embedding + prompt.no_mask_embed.weight[:, :, None, None]
        position = prompt.get_dense_pe().expand(n, -1, -1, -1)
        tokens, source = decoder.transformer(source, position, start.expand(n, -1, -1))
        source = source.transpose(1, 2).reshape(n, channels, height, width)
        return tokens[:, 1:], decoder.output_upscaling(source)

    def _upsample(self, logits: Tensor, images: Tensor) -> Tensor:
        size = images.shape[-2:]
        return F.interpolate(logits, size=size, mode="bilinear", align_corners=False)


class CastNorm(nn.Module):
    """A layer norm in fp32 whose output is passed on in lower precision."""

    def __init__(self, norm: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.norm = norm
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(x)
        return y.to(self.dtype)


def build_cracksam(config: SamConfig, delta: DeltaSpec | None = None) -> CrackSam:
    """The network for training: deltas and head learn, SAM's encoder is frozen.

    Parameters
    ----------
    config : sizes, such as `VITS["vit_h"]`
    delta : what is added to the encoder; None trains the head alone

    Returns
    -------
    CrackSam
        With segment-anything's own attention. LoRA starts as zero, adapters do not.
    """
    network = CrackSam(config, delta or DeltaSpec())
    network.image_encoder.requires_grad_(False)
    for parameter in delta_parameters(network):
        parameter.requires_grad_(True)
    return network


def for_inference(network: CrackSam) -> CrackSam:
    """The same function, faster: deltas merged into the weights, attention in one kernel.

    Changes the network in place; it cannot be trained or saved with its deltas afterwards.
    """
    network.eval().requires_grad_(False)
    merge_deltas(network.image_encoder.blocks)
    use_fast_attention(network.image_encoder.blocks)
    return network


@lru_cache(maxsize=1)
def sam_modules() -> ModuleType:
    """segment-anything's `modeling` package, without its parent.

    The parent's `__init__` imports torchvision for a predictor that crackgeo does not use; with
    a CPU torch beside a CUDA torchvision that import fails. So a placeholder stands in for it
    during the import and goes away again.
    """
    name = f"{_PACKAGE}.modeling"
    if _PACKAGE in sys.modules:
        return import_module(name)
    spec = find_spec(_PACKAGE)
    if spec is None or spec.submodule_search_locations is None:
        raise ModelError("segment-anything is not installed", "pip install segment-anything")
    placeholder = ModuleType(_PACKAGE)
    placeholder.__path__ = list(spec.submodule_search_locations)
    sys.modules[_PACKAGE] = placeholder
    try:
        return import_module(name)
    finally:
        del sys.modules[_PACKAGE]


def _weighted_sum(weights: Tensor, features: Tensor) -> Tensor:
    """`[N, K, C]` x `[N, C, h, w]` -> `[N, K, h, w]`."""
    n, _, height, width = features.shape
    return (weights @ features.flatten(2)).reshape(n, -1, height, width)


def _image_encoder(config: SamConfig) -> nn.Module:
    encoder: nn.Module = sam_modules().ImageEncoderViT(
        img_size=TILE_PX,
        patch_size=config.patch_px,
        embed_dim=config.embed_dim,
        depth=config.depth,
        num_heads=config.num_heads,
        # a ratio there, cut to a whole number; half a unit more keeps rounding from losing one
        mlp_ratio=(config.mlp_dim + 0.5) / config.embed_dim,
        out_chans=config.prompt_dim,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=config.window,
        global_attn_indexes=config.global_blocks,
    )
    return encoder


def _prompt_encoder(config: SamConfig) -> nn.Module:
    encoder: nn.Module = sam_modules().PromptEncoder(
        embed_dim=config.prompt_dim,
        image_embedding_size=(config.grid, config.grid),
        input_image_size=(TILE_PX, TILE_PX),
        mask_in_chans=config.mask_channels,
    )
    return encoder


def _mask_decoder(config: SamConfig) -> nn.Module:
    modules = sam_modules()
    decoder: nn.Module = modules.MaskDecoder(
        num_multimask_outputs=1,
        transformer=modules.TwoWayTransformer(
            depth=config.decoder_depth,
            embedding_dim=config.prompt_dim,
            num_heads=_DECODER_HEADS,
            mlp_dim=config.decoder_mlp_dim,
            attention_downsample_rate=config.downsample,
        ),
        transformer_dim=config.prompt_dim,
        iou_head_depth=config.iou_depth,
        iou_head_hidden_dim=config.iou_hidden,
    )
    return decoder
