"""CrackSAM's network: faithful to the published code, merged without change, of any size."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from crackgeo.cli import run
from crackgeo.errors import ModelError, UsageError
from crackgeo.models import checkpoint
from crackgeo.models.attention import FastAttention, attend_by_products, attend_in_kernel
from crackgeo.models.deltas import AdaptedMlp, Adapter, DeltaLinear, DeltaSpec, delta_parameters
from crackgeo.models.modelfile import open_model_file, save_model
from crackgeo.models.registry import load_model
from crackgeo.models.sam import (
    VITS,
    CrackSam,
    SamConfig,
    build_cracksam,
    for_inference,
    sam_modules,
)

PARITY = Path(__file__).parents[2] / "shared" / "data" / "parity"

# unlike every real one in each size that shapes can tell
TINY = SamConfig(
    embed_dim=32,
    depth=3,
    num_heads=2,
    global_blocks=(1,),
    mlp_dim=56,
    window=7,
    patch_px=32,
    prompt_dim=64,
    decoder_depth=1,
    decoder_mlp_dim=40,
    downsample=4,
    iou_depth=2,
    iou_hidden=24,
    mask_channels=8,
)
DELTAS = {
    "lora": DeltaSpec("qv", 2),
    "adapter": DeltaSpec(adapter_dim=5, adapter_scale=0.3),
    "both": DeltaSpec("qv", 3, 4),
    "head": DeltaSpec(),
}


def randomise(network):
    """Every parameter of a size that matters; LoRA's B and positions would start as zero."""
    generator = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    return network.eval()


def tiny(delta=DELTAS["head"], config=TINY):
    return randomise(build_cracksam(config, delta))


@pytest.fixture(scope="module")
def images():
    return torch.rand((2, 3, 448, 448), generator=torch.Generator().manual_seed(5))


def published(network):
    """A network's state as the published code writes it: SAM's encoder, and a delta file."""
    state = network.state_dict()
    sam = {k: v for k, v in state.items() if ".lora_" not in k and ".adapter." not in k}
    delta = {k: v for k, v in state.items() if k.startswith(("prompt_", "mask_"))}
    suffix = "_l" if network.delta.kind == "both" else ""
    for i in range(network.config.depth):
        block = f"image_encoder.blocks.{i}."
        for offset, part in enumerate("qv" if network.delta.lora else ""):
            for letter in "ab":
                key = f"w_{letter}_{2 * i + offset:03d}{suffix}"
                delta[key] = state[f"{block}attn.qkv.lora_{letter}.{part}"]
        if network.delta.adapter_dim:
            places = ("attn.proj.adapter.down", "attn.proj.adapter.up")
            places += ("mlp.adapter.down", "mlp.adapter.up")
            for letter, place in zip("abcd", places, strict=True):
                delta[f"w_{letter}_{i:03d}"] = state[f"{block}{place}.weight"]
                delta[f"w_{letter}_{i:03d}_bia"] = state[f"{block}{place}.bias"]
    return sam, delta


def close(a, b, tolerance=1e-5):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * float(b.abs().max()))


# ---- the published code -------------------------------------------------------------------


@pytest.mark.shared_data
@pytest.mark.parametrize("kind", ["lora", "adapter", "both"])
def test_parity_with_the_published_code(kind, tmp_path):
    """From the published files to logits, on the way a user takes."""
    if not PARITY.is_dir():
        pytest.skip("development data not there")
    output = tmp_path / "m.safetensors"
    weights = ["--sam", str(PARITY / "base.pth"), "--delta", str(PARITY / f"delta_{kind}.pth")]
    assert run(["models", "import", *weights, "--scale", "0.2", "-o", str(output), "-q"]) == 0
    model = load_model(output, device="cpu", precision="fp32")
    image = np.load(PARITY / "image_u8.npy")
    expected = np.load(PARITY / f"logits_{kind}.npy")
    np.testing.assert_allclose(model.logits(image), expected[:, 1] - expected[:, 0], atol=1e-4)
    x = torch.from_numpy(image).permute(0, 3, 1, 2) / 255
    with torch.inference_mode():
        both = model._replicas[0].class_logits(x)
    np.testing.assert_allclose(both.numpy(), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("vit", "delta", "total", "tunable"),
    [
        ("vit_h", DeltaSpec("qv", 4), 637_179_886, 4_439_278),
        ("vit_h", DeltaSpec(adapter_dim=32), 641_851_374, 9_110_766),
        ("vit_h", DeltaSpec("qv", 8, 32), 643_162_094, 10_421_486),
        ("vit_l", DeltaSpec("qv", 4), 309_027_054, 4_177_134),
        ("vit_b", DeltaSpec("qv", 4), 91_021_806, 3_931_374),
        ("vit_b", DeltaSpec(adapter_dim=32), 92_073_198, 4_982_766),
    ],
)
def test_parameter_counts_are_the_papers(vit, delta, total, tunable):
    with torch.device("meta"):
        parameters = list(build_cracksam(VITS[vit], delta).parameters())
    assert sum(p.numel() for p in parameters) == total
    assert sum(p.numel() for p in parameters if p.requires_grad) == tunable


def test_the_network_is_segment_anythings(images):
    """Oracle: SAM's own encoder and `predict_masks`, image by image."""
    network = tiny()
    dense = network.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand(1, -1, 14, 14)
    with torch.inference_mode():
        embedding = network.image_encoder(images)
        masks = [
            network.mask_decoder.predict_masks(
                image_embeddings=one[None],
                image_pe=network.prompt_encoder.get_dense_pe(),
                sparse_prompt_embeddings=torch.empty(1, 0, TINY.prompt_dim),
                dense_prompt_embeddings=dense,
            )[0]
            for one in embedding
        ]
        expected = F.interpolate(torch.cat(masks), 448, mode="bilinear", align_corners=False)
        found = network.class_logits(images)
    assert found.shape == (2, 2, 448, 448)
    close(found, expected)


def test_segment_anything_is_imported_without_torchvision():
    code = (
        "import sys; from crackgeo.models.sam import sam_modules; sam_modules();"
        "assert 'torchvision' not in sys.modules and 'segment_anything' not in sys.modules;"
        "assert 'segment_anything.modeling' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- one logit, merged, fast ---------------------------------------------------------------


@pytest.mark.parametrize("kind", DELTAS)
def test_merged_and_fast_is_the_same_function(kind, images):
    network = tiny(DELTAS[kind])
    with torch.inference_mode():
        classes = network.class_logits(images)
        merged = for_inference(network)(images)
    assert merged.shape == (2, 1, 448, 448)
    close(merged, classes[:, 1:] - classes[:, :1])
    assert not list(delta_parameters(nn.ModuleList([b.mlp for b in network.image_encoder.blocks])))


parts = st.text("qkvo", max_size=4).filter(lambda s: len(set(s)) == len(s))


@settings(max_examples=20, deadline=None)
@given(lora=parts, rank=st.integers(1, 6), middle=st.integers(0, 5), seed=st.integers(0, 99))
def test_merging_projections(lora, rank, middle, seed):
    torch.manual_seed(seed)
    x = torch.randn(3, 6, dtype=torch.float64)
    for outputs, adapter_dim in (("qkv", 0), ("o", middle)):
        linear = randomise(DeltaLinear(6, outputs, lora, rank, adapter_dim)).double()
        torch.testing.assert_close(linear.merged()(x), linear(x))


def test_lora_by_hand():
    """W x + B A x on k alone, in numbers one can follow; no alpha / r."""
    linear = DeltaLinear(2, "qkv", "k", 1, 0)
    with torch.no_grad():
        linear.weight.zero_()
        linear.bias.copy_(torch.arange(6.0))
        linear.lora_a["k"].copy_(torch.tensor([[1.0, 2.0]]))
        linear.lora_b["k"].copy_(torch.tensor([[10.0], [100.0]]))
    x = torch.tensor([[1.0, 1.0]])
    expected = [[0.0, 1.0, 2.0 + 30.0, 3.0 + 300.0, 4.0, 5.0]]
    assert linear(x).tolist() == expected
    assert linear.merged()(x).tolist() == expected


@settings(max_examples=25, deadline=None)
@given(middle=st.integers(1, 9), scale=st.floats(-2, 2), seed=st.integers(0, 99))
def test_an_adapter_beside_the_mlp_widens_it(middle, scale, seed):
    torch.manual_seed(seed)
    mlp = sam_modules().image_encoder.MLPBlock(4, 7)
    adapted = AdaptedMlp(mlp, Adapter(4, middle), scale).double()
    x = torch.randn(5, 4, dtype=torch.float64)
    expected = mlp(x) + scale * adapted.adapter(x)
    torch.testing.assert_close(adapted(x), expected)
    torch.testing.assert_close(adapted.merged()(x), expected)


@settings(max_examples=15, deadline=None)
@given(size=st.integers(2, 6), heads=st.integers(1, 3), seed=st.integers(0, 99))
def test_fast_attention_is_segment_anythings(size, heads, seed):
    torch.manual_seed(seed)
    plain = randomise(
        sam_modules().image_encoder.Attention(
            4 * heads, heads, use_rel_pos=True, input_size=(size, size)
        )
    ).double()
    x = torch.randn(2, size, size, 4 * heads, dtype=torch.float64)
    torch.testing.assert_close(FastAttention(plain)(x), plain(x))


@settings(max_examples=15, deadline=None)
@given(height=st.integers(1, 6), width=st.integers(1, 6), seed=st.integers(0, 99))
def test_two_ways_to_attend_are_the_same(height, width, seed):
    torch.manual_seed(seed)
    tokens = height * width
    q, k, v = torch.randn(3, 2, 3, tokens, 4, dtype=torch.float64)
    rows = torch.randn(2, 3, tokens, height, dtype=torch.float64)
    columns = torch.randn(2, 3, tokens, width, dtype=torch.float64)
    torch.testing.assert_close(
        attend_by_products(q, k, v, rows, columns), attend_in_kernel(q, k, v, rows, columns)
    )


def test_low_precision_keeps_the_masks(images):
    network = for_inference(tiny(DELTAS["both"]))
    with torch.inference_mode():
        reference = network(images)
        network.set_precision(torch.bfloat16)
        lower = network(images)
    assert lower.dtype == torch.float32
    assert network.image_encoder.blocks[0].attn.qkv.weight.dtype == torch.bfloat16
    assert network.image_encoder.pos_embed.dtype == torch.float32
    assert not torch.equal(lower, reference)
    assert ((lower > 0) == (reference > 0)).float().mean() > 0.99


# ---- files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", DELTAS)
def test_published_files_become_the_same_network(kind):
    network = tiny(DELTAS[kind])
    sam, delta = published(network)
    combined = checkpoint.combine(sam, delta, DELTAS[kind].adapter_scale)
    assert combined.config == TINY
    assert combined.delta == DELTAS[kind]
    for name, tensor in network.state_dict().items():
        assert torch.equal(combined.state_dict()[name], tensor), name


@pytest.mark.parametrize("delta", [DeltaSpec("ko", 2), DeltaSpec("qkvo", 1, 3, 0.7), DeltaSpec()])
def test_model_files_keep_everything(delta, tmp_path, images):
    network = tiny(delta)
    path = tmp_path / "m.safetensors"
    save_model(path, network.state_dict(), {"name": "m", **checkpoint.model_metadata(network)})
    model = load_model(path, device="cpu", precision="fp32")
    tiles = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    with torch.inference_mode():
        expected = network(torch.from_numpy(tiles).permute(0, 3, 1, 2) / 255)[:, 0]
    close(torch.from_numpy(model.logits(tiles)), expected)
    file = open_model_file(path)
    again = checkpoint.read_cracksam(file.tensors(), file.info.metadata)
    assert again.delta == delta
    assert all(p.requires_grad for p in delta_parameters(again))


def test_larger_sam_is_fitted_to_the_tile():
    """A ramp stays a ramp when it is resized; windowed blocks keep their tables."""
    sam, _ = published(tiny())
    ramp = torch.linspace(0, 1, 32)
    sam["image_encoder.pos_embed"] = ramp[None, :, None, None].expand(1, 32, 32, 32).clone()
    for axis in "hw":
        sam[f"image_encoder.blocks.1.attn.rel_pos_{axis}"] = torch.linspace(0, 1, 63)[
            :, None
        ].expand(63, 16)
    fitted = checkpoint.encoder_tensors(sam)
    position = fitted["image_encoder.pos_embed"]
    assert position.shape == (1, 14, 14, 32)
    expected = (np.arange(14) + 0.5) / 14 * 32 / 31 - 0.5 / 31
    np.testing.assert_allclose(position[0, :, 3, 5], expected, atol=1e-6)
    table = fitted["image_encoder.blocks.1.attn.rel_pos_h"]
    assert table.shape == (27, 16)
    assert table[13, 0] == pytest.approx(0.5)
    same = "image_encoder.blocks.0.attn.rel_pos_h"
    assert torch.equal(fitted[same], sam[same])


def hugging_face(name):
    """The names of transformers' SamModel, from SAM's."""
    if name == "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix":
        return "shared_image_embedding.positional_embedding"
    pairs = [
        ("image_encoder.blocks", "vision_encoder.layers"),
        ("image_encoder", "vision_encoder"),
        ("patch_embed.proj.", "patch_embed.projection."),
        *((f"neck.{i}", f"neck.{n}") for i, n in enumerate(
            ("conv1", "layer_norm1", "conv2", "layer_norm2"))),
        *((f"mask_downscaling.{i}", f"mask_embed.{n}") for i, n in zip(
            (0, 1, 3, 4, 6), ("conv1", "layer_norm1", "conv2", "layer_norm2", "conv3"),
            strict=True)),
        ("point_embeddings", "point_embed"),
        ("output_upscaling.0", "upscale_conv1"),
        ("output_upscaling.1", "upscale_layer_norm"),
        ("output_upscaling.3", "upscale_conv2"),
    ]  # fmt: skip
    for old, new in pairs:
        name = name.replace(old, new)
    if "iou_prediction_head" in name or "hypernetworks" in name:
        name = name.replace("layers.0", "proj_in")
        name = name.replace("layers.1", "layers.0").replace("layers.2", "proj_out")
    return name.replace(".norm", ".layer_norm")


def test_hugging_face_names():
    network = tiny(DELTAS["lora"], dataclasses.replace(TINY, iou_depth=3))
    sam, delta = published(network)
    renamed = {hugging_face(name): tensor for name, tensor in sam.items()}
    shared = renamed["shared_image_embedding.positional_embedding"]
    renamed["prompt_encoder.shared_embedding.positional_embedding"] = shared
    # a few literal ones, so that the mapping above cannot be wrong in the same way
    assert {
        "vision_encoder.layers.0.layer_norm1.weight",
        "vision_encoder.neck.layer_norm2.bias",
        "mask_decoder.transformer.layer_norm_final_attn.weight",
        "mask_decoder.output_hypernetworks_mlps.1.proj_out.bias",
        "prompt_encoder.mask_embed.conv3.weight",
    } <= renamed.keys()
    assert checkpoint.sam_names(renamed).keys() == sam.keys()
    combined = checkpoint.combine(renamed, delta)
    for name, tensor in network.state_dict().items():
        assert torch.equal(combined.state_dict()[name], tensor), name


def test_a_delta_of_another_vit_is_refused():
    sam, _ = published(tiny())
    for delta in (DELTAS["lora"], DELTAS["adapter"], DELTAS["both"]):
        for change in ({"embed_dim": 48}, {"depth": 4, "global_blocks": (1,)}):
            other = tiny(delta, dataclasses.replace(TINY, **change))
            with pytest.raises(ModelError, match="the delta belongs to") as caught:
                checkpoint.combine(sam, published(other)[1])
            assert "SAM weights of" in caught.value.remedy


def own_delta(network):
    """As `crackgeo finetune` writes it: the head and the deltas under the network's own names."""
    return {
        k: v
        for k, v in network.state_dict().items()
        if k.startswith(("prompt_", "mask_")) or ".lora_" in k or ".adapter." in k
    }


@pytest.mark.parametrize("parts", ["ko", "o", "qkvo"])
def test_lora_on_any_projection_is_imported_and_checked(parts):
    network = tiny(DeltaSpec(parts, 2))
    sam = {k: v for k, v in network.state_dict().items() if ".lora_" not in k}
    combined = checkpoint.combine(sam, own_delta(network))
    assert combined.delta == DeltaSpec(parts, 2)
    for name, tensor in network.state_dict().items():
        assert torch.equal(combined.state_dict()[name], tensor), name
    other = tiny(DeltaSpec(parts, 2), dataclasses.replace(TINY, embed_dim=48))
    with pytest.raises(ModelError, match="belongs to a ViT of width 48"):
        checkpoint.combine(sam, own_delta(other))


def test_the_vits_are_named_in_the_message():
    sam, _ = published(tiny())
    _, delta = published(tiny(DELTAS["lora"]))
    many = {f"w_{x}_{i:03d}": torch.zeros((4, 1280) if x == "a" else (1280, 4))
            for i in range(64) for x in "ab"}  # fmt: skip
    wrong = {k: v for k, v in delta.items() if not k.startswith("w_")} | many
    with pytest.raises(ModelError, match="belongs to ViT-H"):
        checkpoint.combine(sam, wrong)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda sam, delta: sam.pop("image_encoder.pos_embed"), "no tensor image_encoder.pos_emb"),
        (lambda sam, delta: sam.clear(), "no tensor image_encoder"),
        (lambda sam, delta: sam.pop("image_encoder.blocks.0.norm1.bias"), r"blocks\.0\.norm1"),
        (lambda sam, delta: delta.pop("mask_decoder.iou_token.weight"), "iou_token"),
        (lambda sam, delta: delta.clear(), "no mask decoder"),
        (lambda sam, delta: delta.update(w_e_000=torch.zeros(1)), "w_e_000"),
        (lambda sam, delta: delta.pop("w_b_003"), "lora_b"),
        (
            lambda sam, delta: delta.update(
                {"mask_decoder.mask_tokens.weight": torch.zeros(4, 64)}
            ),
            "4 classes",
        ),
        (
            lambda sam, delta: delta.update({"mask_decoder.mask_tokens.weight": torch.zeros(2, 8)}),
            "8 wide",
        ),
    ],
)
def test_incomplete_and_foreign_weights(change, message):
    sam, delta = published(tiny(DELTAS["lora"]))
    change(sam, delta)
    with pytest.raises(ModelError, match=message):
        checkpoint.combine(sam, delta)


def squeezed(tensors, name):
    tensors[name] = tensors[name].sum()


def emptied(tensors, name):
    tensors[name] = tensors[name][..., :0]


def renumbered(tensors, name):
    tensors[name.replace(".0.", ".999999999.")] = tensors.pop(name)


@pytest.mark.parametrize("change", [squeezed, emptied, renumbered])
@pytest.mark.parametrize(
    "name",
    [
        "image_encoder.blocks.0.attn.rel_pos_h",
        "image_encoder.patch_embed.proj.weight",
        "mask_decoder.transformer.layers.0.mlp.lin1.weight",
        "mask_decoder.iou_prediction_head.layers.0.weight",
        "mask_decoder.transformer.final_attn_token_to_image.q_proj.weight",
    ],
)
def test_shapes_that_no_network_has_are_one_clear_error(change, name):
    network = tiny(DELTAS["both"])
    tensors = dict(network.state_dict())
    change(tensors, name) if name in tensors and ".0." in name else squeezed(tensors, name)
    with pytest.raises(ModelError):
        checkpoint.load_cracksam(tensors, checkpoint.model_metadata(network))


def test_delta_specs_are_checked():
    for wrong in (
        {"lora": "qx", "rank": 1},
        {"lora": "qq", "rank": 1},
        {"lora": "q"},
        {"rank": 4},
        {"adapter_dim": -1},
        {"adapter_scale": float("nan")},
    ):
        with pytest.raises(UsageError):
            DeltaSpec(**wrong)


# ---- training -------------------------------------------------------------------------------


def test_training_starts_from_sam_with_a_fresh_head(images):
    source = tiny()
    sam = dict(source.state_dict())
    del sam["mask_decoder.mask_tokens.weight"]
    sam["mask_decoder.mask_tokens.weight"] = torch.zeros(4, 64)  # as SAM has it
    network = checkpoint.start_training(sam, DELTAS["both"])
    state = network.state_dict()
    for name in ("image_encoder.blocks.2.attn.qkv.weight", "prompt_encoder.no_mask_embed.weight"):
        assert torch.equal(state[name], sam[name])
    assert state["mask_decoder.mask_tokens.weight"].shape == (2, 64)
    learning = {n for n, p in network.named_parameters() if p.requires_grad}
    assert learning == {
        n for n in state
        if not n.startswith("image_encoder") or ".lora_" in n or ".adapter." in n
    } - {"prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"}  # fmt: skip
    network(images[:1]).mean().backward()
    block = network.image_encoder.blocks[0]
    assert block.attn.qkv.lora_b["q"].grad.abs().max() > 0
    assert block.mlp.adapter.down.weight.grad.abs().max() > 0
    assert block.mlp.lin1.weight.grad is None


def test_lora_starts_as_nothing_and_an_adapter_does_not(images):
    torch.manual_seed(0)
    sam = tiny().state_dict()
    plain, lora, adapter = (
        checkpoint.assemble({**sam, **fresh(spec)}, spec).eval()
        for spec in (DeltaSpec(), DeltaSpec("qkvo", 4), DeltaSpec(adapter_dim=4))
    )
    with torch.inference_mode():
        expected = plain(images[:1])
        assert torch.equal(lora(images[:1]), expected)
        assert not torch.allclose(adapter(images[:1]), expected)


def fresh(spec):
    state = CrackSam(TINY, spec).state_dict()
    return {k: v for k, v in state.items() if ".lora_" in k or ".adapter." in k}
