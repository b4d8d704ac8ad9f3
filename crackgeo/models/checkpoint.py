"""Weights of SAM and published deltas -> crackgeo's model files -> networks.

Every size is read from the tensors' shapes, so tiny networks work like the real ones.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

from ..errors import ModelError, UsageError
from .deltas import PAPER_SCALE, DeltaSpec
from .memory import memory_errors
from .sam import VITS, CrackSam, SamConfig, build_cracksam, for_inference

Tensors = Mapping[str, Tensor]

_BLOCK = "image_encoder.blocks"
_HEAD = ("prompt_encoder.", "mask_decoder.")
# their sizes depend on the number of classes, so SAM's own do not fit
_CLASS_HEAD = ("mask_tokens", "output_hypernetworks_mlps", "iou_prediction_head")
_DELTA_KEY = re.compile(r"w_([abcd])_(\d{3,})(_bia|_l)?")
# as `crackgeo finetune` writes them: the network's own names
_OWN_DELTA_KEY = re.compile(rf"{re.escape(_BLOCK)}\.\d+\..*(\.lora_[ab]\.[qkvo]|\.adapter\..*)")
_ADAPTER_PLACE = {
    "a": "attn.proj.adapter.down",
    "b": "attn.proj.adapter.up",
    "c": "mlp.adapter.down",
    "d": "mlp.adapter.up",
}
_WRAPPERS = ("module.", "model.", "_orig_mod.")  # what training code puts before every name
_COPY = "prompt_encoder.shared_embedding.positional_embedding"  # of shared_image_embedding
# Hugging Face's names -> SAM's, in this order (transformers, SamModel)
_HUGGING_FACE = (
    (r"^shared_image_embedding\.positional_embedding$",
     "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"),
    (r"^vision_encoder\.layers\.", "image_encoder.blocks."),
    (r"^vision_encoder\.", "image_encoder."),
    (r"\.patch_embed\.projection\.", ".patch_embed.proj."),
    (r"\.neck\.conv1\.", ".neck.0."),
    (r"\.neck\.layer_norm1\.", ".neck.1."),
    (r"\.neck\.conv2\.", ".neck.2."),
    (r"\.neck\.layer_norm2\.", ".neck.3."),
    (r"\.mask_embed\.conv1\.", ".mask_downscaling.0."),
    (r"\.mask_embed\.layer_norm1\.", ".mask_downscaling.1."),
    (r"\.mask_embed\.conv2\.", ".mask_downscaling.3."),
    (r"\.mask_embed\.layer_norm2\.", ".mask_downscaling.4."),
    (r"\.mask_embed\.conv3\.", ".mask_downscaling.6."),
    (r"\.point_embed\.", ".point_embeddings."),
    (r"\.upscale_conv1\.", ".output_upscaling.0."),
    (r"\.upscale_layer_norm\.", ".output_upscaling.1."),
    (r"\.upscale_conv2\.", ".output_upscaling.3."),
    (r"((?:iou_prediction_head|mlps\.\d+)\.)layers\.0\.", r"\1layers.1."),
    (r"((?:iou_prediction_head|mlps\.\d+)\.)proj_in\.", r"\1layers.0."),
    (r"((?:iou_prediction_head|mlps\.\d+)\.)proj_out\.", r"\1layers.2."),
    (r"\.layer_norm", ".norm"),
)  # fmt: skip


def combine(
    sam: Tensors,
    delta: Tensors,
    scale: float = PAPER_SCALE,
    called: tuple[str, str] = ("SAM", "delta"),
) -> CrackSam:
    """SAM's encoder and a published delta as one network, deltas apart.

    Parameters
    ----------
    sam : state dict of SAM, any image size, Meta's or Hugging Face's names
    delta : a delta file's tensors: the head, and LoRA or adapters or both
    scale : of the adapter beside the MLP; the file does not hold it
    called : what messages call the two

    Raises
    ------
    ModelError
        Tensors are missing, or the two do not belong together.
    ResourceError
        Memory did not suffice.
    """
    with _foreign_tensors(called[1]):
        head, added, spec = read_delta(delta, scale)
    with _foreign_tensors(called[0]):
        encoder = encoder_tensors(sam)
    with _foreign_tensors(" and ".join(called)):
        _check_pair(encoder, head, added)
        return assemble({**encoder, **head, **added}, spec)


def check_delta(delta: Tensors, called: str) -> DeltaSpec:
    """Whether tensors are those of a delta file, and of what kind; `called` is for messages."""
    with _foreign_tensors(called):
        return read_delta(delta, PAPER_SCALE)[2]


def start_training(sam: Tensors, spec: DeltaSpec, called: str = "SAM") -> CrackSam:
    """SAM's weights with fresh deltas and a fresh class head, to be trained.

    Parameters
    ----------
    sam : state dict of SAM, any image size, Meta's or Hugging Face's names
    spec : the deltas
    called : what messages call SAM's file

    Raises
    ------
    ModelError
        The tensors are not those of SAM.
    ResourceError
        Memory did not suffice.
    """
    with _foreign_tensors(called):
        named = sam_names(sam)
        weights = {**encoder_tensors(named), **_shared_head(named)}
        network = build_cracksam(config_from_shapes(weights), spec)
        _, left_over = network.load_state_dict(weights, strict=False)
    if left_over:
        raise ModelError(f"{called}: holds tensors of another network than SAM: {left_over[:3]}")
    return network


def load_cracksam(tensors: Tensors, metadata: Mapping[str, str]) -> CrackSam:
    """The network of a model file, in its form for inference."""
    return for_inference(read_cracksam(tensors, metadata))


def read_cracksam(tensors: Tensors, metadata: Mapping[str, str]) -> CrackSam:
    """The network of a model file with its deltas apart, to be trained further."""
    with _foreign_tensors():
        return assemble(tensors, _delta_of(tensors, metadata))


def model_metadata(network: CrackSam) -> dict[str, str]:
    """What a model file must say about a network beside its tensors."""
    config, delta = network.config, network.delta
    names = [name for name, vit in VITS.items() if vit == config]
    return {
        "architecture": "cracksam",
        "normalisation": "zero-to-one",
        "vit": names[0] if names else f"vit {config.embed_dim} x {config.depth}",
        "delta": delta.kind,
        "lora": delta.lora,
        "lora_rank": str(delta.rank),
        "adapter_dim": str(delta.adapter_dim),
        "adapter_scale": repr(delta.adapter_scale),
    }


def assemble(tensors: Tensors, spec: DeltaSpec) -> CrackSam:
    """A network with these tensors, which must be all of its own and no others."""
    with torch.device("meta"):  # no time spent on start values that are replaced
        network = build_cracksam(config_from_shapes(tensors), spec)
    network.load_state_dict({k: v.float() for k, v in tensors.items()}, assign=True)
    return network


@contextmanager
def _foreign_tensors(called: str = "") -> Iterator[None]:
    """One error for names and shapes that no network has; torch's message says which they are."""
    where = f"{called}: " if called else ""
    try:
        with memory_errors(called or "the network"):
            yield
    except (ModelError, UsageError) as error:  # a file's shapes are nobody's usage
        raise ModelError(f"{where}{error.message}", error.remedy) from error
    except (RuntimeError, ValueError, TypeError, IndexError, ArithmeticError) as error:
        detail = " ".join(str(error).split())[:300]
        raise ModelError(
            f"{where}the tensors do not make a CrackSAM network: {detail}",
            "get the weights again; SAM and delta must be of the same ViT",
        ) from error


def _check_wrapper(tensors: Tensors) -> None:
    """Find names that training code has put its own before, as no reader expects them."""
    for wrapper in _WRAPPERS:
        if tensors and all(name.startswith(wrapper) for name in tensors):
            raise ModelError(
                f"the names of its tensors all begin with {wrapper!r}, as of a network in another",
                f"save it once more without: {{k.removeprefix({wrapper!r}): v for k, v in ...}}",
            )


def sam_names(tensors: Tensors) -> dict[str, Tensor]:
    """SAM's tensors under Meta's names, whichever they had."""
    _check_wrapper(tensors)
    if not any(name.startswith("vision_encoder.") for name in tensors):
        return dict(tensors)
    return {_meta_name(name): tensor for name, tensor in tensors.items() if name != _COPY}


def encoder_tensors(sam: Tensors) -> dict[str, Tensor]:
    """The image encoder for 448-px tiles, from SAM's weights of any image size.

    The position embedding and the relative positions of global blocks are interpolated
    bilinearly, as the published code does.
    """
    encoder = {k: v for k, v in sam_names(sam).items() if k.startswith("image_encoder.")}
    config = config_from_shapes(encoder)
    encoder["image_encoder.pos_embed"] = _resize(
        _get(encoder, "image_encoder.pos_embed").permute(0, 3, 1, 2), config.grid, config.grid
    ).permute(0, 2, 3, 1)
    for i in config.global_blocks:
        for axis in "hw":
            key = f"{_BLOCK}.{i}.attn.rel_pos_{axis}"
            table = _get(encoder, key)
            resized = _resize(table[None, None], 2 * config.grid - 1, table.shape[1])
            encoder[key] = resized[0, 0]
    return encoder


def read_delta(
    delta: Tensors, scale: float
) -> tuple[dict[str, Tensor], dict[str, Tensor], DeltaSpec]:
    """A delta file, published or crackgeo's, as head, deltas under crackgeo's names, their kind."""
    _check_wrapper(delta)
    head = {name: tensor for name, tensor in delta.items() if name.startswith(_HEAD)}
    others = {name: tensor for name, tensor in delta.items() if name not in head}
    if "mask_decoder.mask_tokens.weight" not in head:
        raise ModelError(
            "the delta holds no mask decoder", "is it a delta file of CrackSAM, and complete?"
        )
    both = any(name.endswith("_l") for name in others)
    plain_lora = not both and "w_c_000" not in others
    added: dict[str, Tensor] = {}
    for name, tensor in others.items():
        match = _DELTA_KEY.fullmatch(name)
        if match is None and not _OWN_DELTA_KEY.fullmatch(name):
            raise ModelError(f"the delta holds a tensor that CrackSAM does not have: {name}")
        added[name if match is None else _delta_name(match, plain_lora)] = tensor
    return head, added, _spec_from_shapes(added, scale)


def config_from_shapes(tensors: Tensors) -> SamConfig:
    """Sizes of a SAM network; of its head those of a real SAM where only the encoder is given."""
    patch = _get(tensors, "image_encoder.patch_embed.proj.weight")
    embed_dim, depth = patch.shape[0], _count(tensors, _BLOCK)
    side = _get(tensors, "image_encoder.pos_embed").shape[1]
    tables = [_get(tensors, f"{_BLOCK}.{i}.attn.rel_pos_h") for i in range(depth)]
    windows = {len(table) for table in tables} - {2 * side - 1}
    if not tables or len(windows) > 1:
        raise ModelError("SAM's weights hold no blocks, or windows of several sizes")
    return SamConfig(
        embed_dim=embed_dim,
        depth=depth,
        num_heads=embed_dim // tables[0].shape[1],
        global_blocks=tuple(i for i, table in enumerate(tables) if len(table) == 2 * side - 1),
        mlp_dim=_get(tensors, f"{_BLOCK}.0.mlp.lin1.weight").shape[0],
        window=(windows.pop() + 1) // 2 if windows else side,
        patch_px=patch.shape[2],
        prompt_dim=_get(tensors, "image_encoder.neck.0.weight").shape[0],
        **_head_sizes(tensors),
    )


def _head_sizes(tensors: Tensors) -> dict[str, int]:
    if not any(name.startswith(_HEAD) for name in tensors):
        return {}
    transformer = "mask_decoder.transformer"
    query = _get(tensors, f"{transformer}.final_attn_token_to_image.q_proj.weight")
    sizes = {
        "decoder_depth": _count(tensors, f"{transformer}.layers"),
        "decoder_mlp_dim": _get(tensors, f"{transformer}.layers.0.mlp.lin1.weight").shape[0],
        "downsample": query.shape[1] // query.shape[0],
        "mask_channels": _get(tensors, "prompt_encoder.mask_downscaling.3.weight").shape[0],
    }
    iou = "mask_decoder.iou_prediction_head.layers"
    if f"{iou}.0.weight" in tensors:
        sizes |= {"iou_depth": _count(tensors, iou), "iou_hidden": len(tensors[f"{iou}.0.weight"])}
    return sizes


def _spec_from_shapes(added: Tensors, scale: float) -> DeltaSpec:
    first = f"{_BLOCK}.0."
    lora = {
        name.rsplit(".", 1)[1]: tensor.shape[0]
        for name, tensor in added.items()
        if name.startswith(first) and ".lora_a." in name
    }
    if len(set(lora.values())) > 1:
        raise ModelError(f"LoRA of several ranks: {lora}")
    adapter = added.get(f"{first}mlp.adapter.down.weight")
    return DeltaSpec(
        lora="".join(part for part in "qkvo" if part in lora),
        rank=next(iter(lora.values()), 0),
        adapter_dim=0 if adapter is None else adapter.shape[0],
        adapter_scale=scale,
    )


def _delta_of(tensors: Tensors, metadata: Mapping[str, str]) -> DeltaSpec:
    text = metadata.get("adapter_scale", repr(PAPER_SCALE))
    try:
        scale = float(text)
    except ValueError:
        scale = math.nan
    if not math.isfinite(scale):
        raise ModelError(f"adapter_scale is {text!r}, not a number", "import the delta again")
    return _spec_from_shapes(tensors, scale)


def _delta_name(match: re.Match[str], plain_lora: bool) -> str:
    letter, number, suffix = match[1], int(match[2]), match[3] or ""
    if suffix == "_l" or plain_lora:
        part = "qv"[number % 2]  # q and v of a block follow one another
        return f"{_BLOCK}.{number // 2}.attn.qkv.lora_{letter}.{part}"
    kind = "bias" if suffix == "_bia" else "weight"
    return f"{_BLOCK}.{number}.{_ADAPTER_PLACE[letter]}.{kind}"


def _check_pair(encoder: Tensors, head: Tensors, added: Tensors) -> None:
    """Whether a delta was made for this encoder; the ViTs have the same head."""
    config = config_from_shapes(encoder)
    tokens = head["mask_decoder.mask_tokens.weight"]
    if len(tokens) != 2:
        raise ModelError(
            f"the delta tells {len(tokens)} classes apart, not crack from background",
            "only deltas with two mask tokens are crack models",
        )
    inwards = (t for k, t in added.items() if ".lora_a." in k or k.endswith("down.weight"))
    width = next((tensor.shape[1] for tensor in inwards), None)
    depth = _count(added, _BLOCK)
    if width is not None and (width, depth) != (config.embed_dim, config.depth):
        raise ModelError(
            f"the delta belongs to {_vit_name(width, depth)}, the SAM weights are "
            f"{_vit_name(config.embed_dim, config.depth)}",
            f"use the SAM weights of {_vit_name(width, depth)}",
        )
    if tokens.shape[1] != config.prompt_dim:
        raise ModelError(
            f"the delta's decoder is {tokens.shape[1]} wide, SAM's neck {config.prompt_dim}",
            "use the SAM weights that the delta was trained on",
        )


def _vit_name(width: int, depth: int) -> str:
    for name, vit in VITS.items():
        if (vit.embed_dim, vit.depth) == (width, depth):
            return f"ViT-{name[-1].upper()}"
    return f"a ViT of width {width} and depth {depth}"


def _shared_head(sam: Tensors) -> dict[str, Tensor]:
    return {
        name: tensor
        for name, tensor in sam.items()
        if name.startswith(_HEAD) and not any(part in name for part in _CLASS_HEAD)
    }


def _meta_name(name: str) -> str:
    for pattern, replacement in _HUGGING_FACE:
        name = re.sub(pattern, replacement, name)
    return name


def _resize(image: Tensor, height: int, width: int) -> Tensor:
    if image.shape[-2:] == (height, width):
        return image
    return F.interpolate(image.float(), (height, width), mode="bilinear", align_corners=False)


def _count(tensors: Tensors, prefix: str) -> int:
    """How many numbered modules there are under a prefix: 0 to the highest."""
    cut = len(prefix) + 1
    names = (name[cut:] for name in tensors if name.startswith(f"{prefix}."))
    count = 1 + max((int(name.split(".")[0]) for name in names), default=-1)
    if count > len(tensors):  # before a network of that many modules is built
        raise ModelError(f"{prefix} counts to {count}, among {len(tensors)} tensors")
    return count


def _get(tensors: Tensors, name: str) -> Tensor:
    try:
        return tensors[name]
    except KeyError:
        raise ModelError(
            f"no tensor {name} among the weights", "are these weights of SAM, and complete?"
        ) from None
