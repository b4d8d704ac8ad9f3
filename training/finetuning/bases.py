"""The models that local training begins from, and the files it ends in."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from torch import Tensor, nn

from crackgeo.errors import UsageError
from crackgeo.files import atomic_output
from crackgeo.models.catalogue import digests
from crackgeo.models.checkpoint import model_metadata, read_cracksam, start_training
from crackgeo.models.compact import CompactNet, restore_compact
from crackgeo.models.deltas import DeltaSpec
from crackgeo.models.modelfile import (
    DELTA_FORMAT,
    NORMALISATIONS,
    open_model_file,
    save_model,
    write_tensors,
)
from crackgeo.models.protocol import ModelInfo, Segmenter
from crackgeo.models.reading import storable
from crackgeo.models.registry import find_model
from crackgeo.models.runtime import Scaling, TorchSegmenter
from crackgeo.models.sam import CrackSam, for_inference
from crackgeo.models.weights import how_to_use, read_weights, resolve
from crackgeo.specs import TILE_PX

from ..learning.peers import PeerNet, build_peer

Network = CompactNet | CrackSam | PeerNet
PARTS = ("all", "decoder", "head")
_UNKEPT = ("scores", "calibration")  # told of the base, not of what becomes of it
# what a delta of it must say: the SAM that it needs, whose work it goes on from, on which terms
_ORIGIN = ("sam_file", "sam_sha256", "delta_file", "delta_sha256", "licence")


@dataclass(frozen=True)
class Base:
    """A network to train, with what its file says.

    Parameters
    ----------
    network : `CompactNet`, `CrackSam` with its deltas apart, or one of its peers; frozen parts
        need no gradient
    info : what the model is
    scaling : from pixels to what the network takes, and from logits to probabilities
    """

    network: Network
    info: ModelInfo
    scaling: Scaling

    @property
    def is_compact(self) -> bool:
        """Whether it is `compact`; else CrackSAM or a peer, with two class maps."""
        return isinstance(self.network, CompactNet)

    def inputs(self, images: Tensor) -> Tensor:
        """Images as `pictures.data.to_tensor` gives them, [-1, 1], as the network takes them."""
        return (images + 1) * (127.5 * self.scaling.factor) + self.scaling.offset

    def segmenter(self, device: str, info: ModelInfo | None = None) -> Segmenter:
        """The network as it is now, ready to predict; training may go on."""
        ready = _ready(copy.deepcopy(self.network))
        return TorchSegmenter(ready, info or self.info, self.scaling, device, "fp32")


def _ready(network: Network) -> nn.Module:
    if isinstance(network, CompactNet):
        return network.fuse()
    return for_inference(network) if isinstance(network, CrackSam) else network.eval()


def parse_delta(text: str) -> DeltaSpec:
    """Deltas from a text such as `lora=qv:4`, `adapter=32,scale=0.2`, both of them, or `head`.

    Raises
    ------
    UsageError
        It says something else.
    """
    if text == "head":
        return DeltaSpec()
    wrong = UsageError(
        f"--delta {text}: not understood", "e.g. lora=qv:4 or adapter=32,scale=0.2 or head"
    )
    said: dict[str, Any] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            if name == "lora":
                said["lora"], rank = value.split(":")
                said["rank"] = int(rank)
            elif name == "adapter":
                said["adapter_dim"] = int(value)
            elif name == "scale":
                said["adapter_scale"] = float(value)
            else:
                raise wrong
        except ValueError:
            raise wrong from None
    return DeltaSpec(**said)


def load_base(name_or_path: str) -> Base:
    """A model file as a base, its weights as they are stored.

    Raises
    ------
    ModelError
        No such model, or its file is broken.
    """
    file = open_model_file(find_model(name_or_path))
    network: CompactNet | CrackSam
    if file.architecture == "cracksam":
        network = read_cracksam(file.tensors(), file.info.metadata)
        unfreeze_head(network)
    else:
        network = restore_compact(file.tensors())
    return Base(network, file.info, Scaling.of(file))


def start_cracksam(sam: str, delta: DeltaSpec) -> Base:
    """SAM's weights with fresh deltas as a base.

    Parameters
    ----------
    sam : name of fetched weights, or their file
    delta : what is added and learned, beside the head
    """
    path = resolve(sam)
    network = start_training(read_weights(path), delta, str(path))
    found = digests(path).sha256
    origin = {"sam_file": storable(path.name), "sam_sha256": found}
    info = ModelInfo("cracksam", found, metadata=origin)
    return Base(network, info, Scaling(*NORMALISATIONS["zero-to-one"]))


def start_peer(name: str, pretrained: bool = False, tile_px: int = TILE_PX, **sizes: Any) -> Base:
    """A network that the paper compares with as a base; see `learning.peers.build_peer`."""
    network = build_peer(name, pretrained, **sizes)
    start = f"{name} {'ImageNet' if pretrained else 'random'} {sorted(sizes.items())}"
    info = ModelInfo(name, sha256(start.encode()).hexdigest(), tile_px=tile_px)
    return Base(network, info, Scaling(*NORMALISATIONS["zero-to-one"]))


def unfreeze_head(network: CrackSam) -> None:
    """Let all but SAM's image encoder learn, beside the deltas."""
    network.prompt_encoder.requires_grad_(True)
    network.mask_decoder.requires_grad_(True)


def unfreeze(network: CompactNet, parts: str) -> None:
    """Let `all` of the network learn, its `decoder` alone, or its last block (`head`)."""
    if parts not in PARTS:
        raise UsageError(f"--unfreeze {parts}: unknown", f"one of {', '.join(PARTS)}")
    network.requires_grad_(parts == "all")
    if parts != "all":
        network.final.requires_grad_(True)
    if parts == "decoder":
        network.ups.requires_grad_(True)


def save_compact(path: Path, base: Base, said: dict[str, str], overwrite: bool) -> None:
    """Write `compact` as a model file; kernels in half precision, as the shipped one."""
    halved = {k: v.half() if v.dim() > 1 else v for k, v in base.network.state_dict().items()}
    kept = {k: v for k, v in base.info.metadata.items() if k not in _UNKEPT}
    save_model(path, halved, {**kept, "name": path.stem, **said}, overwrite)


def save_delta(path: Path, base: Base, said: dict[str, str], overwrite: bool) -> None:
    """Write what CrackSAM has learned, deltas and head, without SAM, and how it wants to be used.

    `crackgeo models import --sam SAM --delta FILE` makes a model of it.
    """
    network = cast(CrackSam, base.network)
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
    learned = {k: v for k, v in network.state_dict().items() if k not in frozen}
    told = base.info.metadata
    origin = {key: told[key] for key in _ORIGIN if key in told}
    story = {**how_to_use(told), **origin, **model_metadata(network), **said}
    story |= {"format": DELTA_FORMAT, "name": path.stem}
    with atomic_output(path, overwrite) as part:
        write_tensors(part, learned, story)
