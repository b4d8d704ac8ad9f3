"""The twelve networks that the paper compares CrackSAM with (Ge et al. 2024, Table 7).

They come from segmentation-models-pytorch, timm and torchvision (the extra `peers`), joined here
where those packages have the parts only. All see RGB from 0 to 1, scaled within by ImageNet's mean
and deviation, and give two class maps, so that CrackSAM's loss and the training loop fit them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crackgeo.errors import UsageError
from crackgeo.specs import TILE_PX

CLASSES = 2  # background and crack, in this order
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_SD = (0.229, 0.224, 0.225)
_NO_KERNELS = "torchvision::nms does not exist"  # of a torchvision built for another torch
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


class PeerNet(nn.Module):
    """A segmentation network behind CrackSAM's interface.

    Parameters
    ----------
    body : float `[N, 3, H, W]`, RGB less ImageNet's mean over its deviation, to class maps
        `[N, 2, h, w]`
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body
        for name, values in (("mean", IMAGENET_MEAN), ("sd", IMAGENET_SD)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def class_logits(self, images: Tensor) -> Tensor:
        """Logits of background and crack `[N, 2, H, W]` of RGB images from 0 to 1."""
        logits: Tensor = self.body((images - self.mean) / self.sd)
        size = images.shape[-2:]
        if logits.shape[-2:] == size:
            return logits
        return F.interpolate(logits, size, mode="bilinear", align_corners=False)

    def forward(self, images: Tensor) -> Tensor:
        """Crack logits `[N, 1, H, W]`: the crack's minus the background's."""
        logits = self.class_logits(images)
        return logits[:, 1:] - logits[:, :1]


@dataclass(frozen=True)
class Peer:
    """One network of the table.

    Parameters
    ----------
    title : as the paper names it
    build : makes it; takes `pretrained` and its sizes
    sizes : the paper's, by name; others can be given to `build_peer`
    """

    title: str
    build: Callable[..., nn.Module]
    sizes: Mapping[str, Any] = field(default_factory=dict)


def build_peer(name: str, pretrained: bool = False, **sizes: Any) -> PeerNet:
    """Build a network by its name in `PEERS`.

    Parameters
    ----------
    name : such as `segformer-b5`
    pretrained : begin with ImageNet weights, which the packages fetch from their hubs
    sizes : instead of the paper's

    Raises
    ------
    UsageError
        No such name, or the extra `peers` is not installed.
    """
    if name not in PEERS:
        raise UsageError(f"peer {name}: unknown", f"one of {', '.join(PEERS)}")
    try:
        import_torchvision()
        peer = PEERS[name]
        return PeerNet(peer.build(pretrained, **{**peer.sizes, **sizes}))
    except ImportError as error:
        raise UsageError(
            f"the paper's peers need the package {error.name}",
            'install the extra: pip install "crackgeo[peers]"',
        ) from error


@lru_cache(maxsize=1)
def import_torchvision() -> Any:
    """Import torchvision, also beside a torch that its compiled operators do not fit.

    A CPU build of torch beside the registry's CUDA build of torchvision fails at import, as two
    operators are described that do not exist. None of the peers uses them, so their schemas alone
    are registered.
    """
    try:
        import torchvision
    except RuntimeError as error:
        if _NO_KERNELS not in str(error):
            raise
        for name in [n for n in sys.modules if n.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for operator in ("nms", "qnms"):
            library.define(operator + _SCHEMA)
        import torchvision  # noqa: F401

        return library  # kept by the cache: the schemas go with it


def _smp(kind: str, encoder: str, pretrained: bool, **sizes: Any) -> Any:
    import segmentation_models_pytorch as smp

    weights = "imagenet" if pretrained else None
    return getattr(smp, kind)(encoder, encoder_weights=weights, classes=CLASSES, **sizes)


def _vgg_unet(pretrained: bool, encoder: str, decoder_channels: tuple[int, ...]) -> nn.Module:
    network: nn.Module = _smp("Unet", encoder, pretrained, decoder_channels=decoder_channels)
    return network


def _swin_upernet(pretrained: bool, encoder: str, channels: int, **sizes: Any) -> nn.Module:
    sizes = {"decoder_channels": channels, "img_size": TILE_PX, **sizes}
    network: nn.Module = _smp("UPerNet", f"tu-{encoder}", pretrained, **sizes)
    return network


def _deeplab(pretrained: bool, encoder: str, channels: int) -> nn.Module:
    sizes = {"encoder_output_stride": 8, "decoder_channels": channels}
    network: nn.Module = _smp("DeepLabV3Plus", encoder, pretrained, **sizes)
    return network


def _pspnet(pretrained: bool, encoder: str, channels: int) -> nn.Module:
    """With all stages of the encoder, the last two dilated instead of halved."""
    network = _smp("PSPNet", encoder, pretrained, encoder_depth=5, psp_out_channels=channels)
    network.encoder.make_dilated(8)
    return network  # type: ignore[no-any-return]


def _segformer(pretrained: bool, encoder: str, channels: int) -> nn.Module:
    sizes = {"decoder_segmentation_channels": channels}
    network: nn.Module = _smp("Segformer", encoder, pretrained, **sizes)
    return network


class _Lraspp(nn.Module):
    """MobileNet-V3 with the light head of its own paper (Howard et al. 2019)."""

    def __init__(self, pretrained: bool) -> None:
        super().__init__()
        from torchvision.models.segmentation import lraspp_mobilenet_v3_large

        backbone = "DEFAULT" if pretrained else None
        self.network = lraspp_mobilenet_v3_large(
            weights=None, weights_backbone=backbone, num_classes=CLASSES
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.network(x)["out"]
        return out


class _PlainUnet(nn.Module):
    """The U-Net of Ronneberger et al. 2015 with batch norms, an FCN or a PSP head behind it."""

    def __init__(self, pretrained: bool, head: str, widths: tuple[int, ...]) -> None:
        super().__init__()
        from segmentation_models_pytorch.decoders.pspnet.decoder import PSPModule

        if pretrained:
            raise UsageError("a plain U-Net has no ImageNet weights", "leave --pretrained out")
        self.downs = nn.ModuleList(map(_double, (3, *widths), widths))
        wide, narrow = widths[:0:-1], widths[-2::-1]
        self.projects = nn.ModuleList(map(_conv, wide, narrow))
        self.ups = nn.ModuleList(_double(2 * width, width) for width in narrow)
        width = widths[0]
        pyramid = nn.Sequential(PSPModule(width), _conv(2 * width, width, 3))
        self.head = nn.Sequential(
            pyramid if head == "psp" else _conv(width, width, 3), nn.Conv2d(width, CLASSES, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for down in self.downs:
            x = down(F.max_pool2d(x, 2) if skips else x)
            skips.append(x)
        for project, up, skip in zip(self.projects, self.ups, skips[-2::-1], strict=True):
            x = F.interpolate(x, skip.shape[-2:], mode="bilinear", align_corners=False)
            x = up(torch.cat((project(x), skip), dim=1))
        out: Tensor = self.head(x)
        return out


class _VitUpernet(nn.Module):
    """A ViT whose four maps of one size become a pyramid for UPerNet's decoder."""

    SCALES = (4.0, 2.0, 1.0, 0.5)
    encoder: Any

    def __init__(self, pretrained: bool, encoder: str, channels: int, **sizes: Any) -> None:
        super().__init__()
        import timm
        from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder

        sizes = {"img_size": TILE_PX, "features_only": True, **sizes}
        self.encoder = timm.create_model(encoder, pretrained=pretrained, **sizes)
        width, *_ = self.encoder.feature_info.channels()
        self.necks = nn.ModuleList(_conv(width, width) for _ in self.SCALES)
        self.smooths = nn.ModuleList(_conv(width, width, 3) for _ in self.SCALES)
        self.decoder = UPerNetDecoder((0, 0, *(width for _ in self.SCALES)), 5, channels)
        self.head = nn.Conv2d(channels, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        pyramid = [
            smooth(F.interpolate(neck(one), scale_factor=s, mode="bilinear", align_corners=False))
            for one, neck, smooth, s in zip(
                self.encoder(x), self.necks, self.smooths, self.SCALES, strict=True
            )
        ]
        out: Tensor = self.head(self.decoder([x, x, *pyramid]))
        return out


class _HrNet(nn.Module):
    """HRNet (Wang et al. 2020): its four maps side by side, two 1 x 1 convolutions."""

    encoder: Any

    def __init__(self, pretrained: bool, encoder: str) -> None:
        super().__init__()
        import timm

        self.encoder = timm.create_model(
            encoder,
            pretrained=pretrained,
            features_only=True,
            feature_location="",
            out_indices=(1, 2, 3, 4),
        )
        width = sum(self.encoder.feature_info.channels())
        self.head = nn.Sequential(_conv(width, width), nn.Conv2d(width, CLASSES, 1))

    def forward(self, x: Tensor) -> Tensor:
        first, *rest = self.encoder(x)
        size = first.shape[-2:]
        wide = [F.interpolate(m, size, mode="bilinear", align_corners=False) for m in rest]
        out: Tensor = self.head(torch.cat((first, *wide), dim=1))
        return out


def _conv(inputs: int, outputs: int, kernel: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _double(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(_conv(inputs, outputs, 3), _conv(outputs, outputs, 3))


_UNET = (64, 128, 256, 512, 1024)
_VIT_BLOCKS = (2, 5, 8, 11)
_SWIN = "swin_{}_patch4_window7_224"

PEERS = {
    "vgg-unet": Peer(
        "VGG-UNet", _vgg_unet, {"encoder": "vgg16", "decoder_channels": (256, 128, 64, 32, 16)}
    ),
    "swin-t-upernet": Peer(
        "Swin-UPerNet T", _swin_upernet, {"encoder": _SWIN.format("tiny"), "channels": 512}
    ),
    "swin-b-upernet": Peer(
        "Swin-UPerNet B", _swin_upernet, {"encoder": _SWIN.format("base"), "channels": 512}
    ),
    "mobilenet-v3": Peer("MobileNet-V3", _Lraspp),
    "unet-fcn": Peer("UNet-FCN", _PlainUnet, {"head": "fcn", "widths": _UNET}),
    "unet-pspnet": Peer("UNet-PSPNet", _PlainUnet, {"head": "psp", "widths": _UNET}),
    "deeplabv3plus-r50": Peer("DeepLabV3+ R50", _deeplab, {"encoder": "resnet50", "channels": 512}),
    "deeplabv3plus-r101": Peer(
        "DeepLabV3+ R101", _deeplab, {"encoder": "resnet101", "channels": 512}
    ),
    "pspnet-r101": Peer("PSPNet R101", _pspnet, {"encoder": "resnet101", "channels": 512}),
    "vit-upernet": Peer(
        "ViT-UPerNet",
        _VitUpernet,
        {"encoder": "vit_base_patch16_224", "channels": 512, "out_indices": _VIT_BLOCKS},
    ),
    "segformer-b5": Peer("SegFormer MiT-B5", _segformer, {"encoder": "mit_b5", "channels": 256}),
    "hrnet-w18": Peer("HRNet-W18", _HrNet, {"encoder": "hrnet_w18"}),
}
