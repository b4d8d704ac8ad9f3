"""Running a network on tiles: device, arithmetic, batches, memory. One class for all models."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import ModelError, ResourceError, UsageError
from .protocol import ModelInfo

CPU_BATCH = 4  # larger batches gain nothing on a CPU and delay a wish to stop
CARD_BATCH = 32
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Scaling:
    """How bytes become the network's input: (value - mean) / std."""

    mean: float
    std: float


SCALINGS = {
    "unit": Scaling(0.0, 255.0),  # [0, 1], as the published CrackSAM takes it
    "symmetric": Scaling(127.5, 127.5),  # [-1, 1]
}


def choose_devices(device: str) -> list[torch.device]:
    """The devices that a name stands for: all cards for `cuda` and, where there are some, `auto`.

    Raises
    ------
    UsageError
        No such kind of device.
    ModelError
        The device is not there.
    """
    cards = [torch.device("cuda", i) for i in range(torch.cuda.device_count())]
    if device == "auto":
        mps = [torch.device("mps")] if torch.backends.mps.is_available() else []
        return cards or mps or [torch.device("cpu")]
    if device == "cuda":
        return cards or _absent(device)
    if device == "mps":
        return [torch.device("mps")] if torch.backends.mps.is_available() else _absent(device)
    if device == "cpu":
        return [torch.device("cpu")]
    kind, _, number = device.partition(":")
    if kind != "cuda" or not number.isdigit():
        raise UsageError(f"--device {device}: not auto, cpu, cuda, cuda:N or mps")
    return [cards[int(number)]] if int(number) < len(cards) else _absent(device)


def _absent(device: str) -> list[torch.device]:
    raise ModelError(
        f"--device {device}: there is no such device here",
        "use --device auto, and see `crackgeo doctor` for what torch finds",
    )


def choose_precision(precision: str, device: torch.device) -> str:
    """The arithmetic that a name stands for: on `auto` the fastest that keeps the masks.

    Half precision pays on graphics cards; on a CPU fp32 is the reference and stays.
    """
    if precision == "auto":
        if device.type == "cuda":
            return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
        return "fp32"
    if precision not in DTYPES:
        raise UsageError(f"--precision {precision}: not auto, fp32, bf16 or fp16")
    if precision == "fp16" and device.type == "cpu":
        raise UsageError("--precision fp16 needs a graphics card", "use fp32 or bf16 on a CPU")
    return precision


class TorchSegmenter:
    """A network that gives crack logits, made to take bytes and give probabilities.

    Parameters
    ----------
    net : maps float `[N, 3, S, S]` to crack logits `[N, 1, S, S]`
    info : what the model file says
    device, precision, batch_size : as `load_model` takes them
    scaling : key of `SCALINGS`
    temperature : logits are divided by it, so that probabilities are calibrated
    """

    def __init__(
        self,
        net: nn.Module,
        info: ModelInfo,
        device: str = "auto",
        precision: str = "auto",
        batch_size: int | None = None,
        scaling: str = "unit",
        temperature: float = 1.0,
    ) -> None:
        self._info = info
        self._devices = choose_devices(device)
        self._precision = choose_precision(precision, self._devices[0])
        self._scaling = SCALINGS[scaling]
        self._temperature = temperature
        first, *others = self._devices
        net = net.eval().requires_grad_(False)
        self._nets = [net.to(first), *(deepcopy(net).to(other) for other in others)]
        for copy in self._nets:
            copy.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        default = CPU_BATCH if first.type == "cpu" else CARD_BATCH * len(self._devices)
        self._batch_size = batch_size or default
        self._limit = self._batch_size  # lowered when the device runs out of memory

    @property
    def info(self) -> ModelInfo:
        """What the model is."""
        return self._info

    @property
    def batch_size(self) -> int:
        """Tiles at once."""
        return self._batch_size

    @property
    def device(self) -> str:
        """Where it runs."""
        return ", ".join(str(device) for device in self._devices)

    @property
    def precision(self) -> str:
        """Its arithmetic: fp32, bf16 or fp16."""
        return self._precision

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Crack probabilities of RGB tiles.

        Parameters
        ----------
        images : uint8 `[N, S, S, 3]`, any N

        Returns
        -------
        float32 `[N, S, S]` in [0, 1]

        Raises
        ------
        ResourceError
            Not even one tile fits into the device's memory.
        """
        shares = np.array_split(images, len(self._nets))
        if len(shares) == 1:
            return self._predict_on(0, images)
        with ThreadPoolExecutor(len(shares)) as threads:
            parts = threads.map(self._predict_on, range(len(shares)), shares)
            return np.concatenate(list(parts))

    def _predict_on(self, number: int, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run one device's share; halve the batch as long as memory runs out."""
        parts: list[NDArray[np.float32]] = []
        start = 0
        while start < len(images):
            batch = images[start : start + self._limit]
            try:
                parts.append(self._forward(number, batch))
            except torch.OutOfMemoryError:
                self._halve(len(batch))
                continue
            start += len(batch)
        return _joined(parts, images.shape[1:3])

    def _halve(self, size: int) -> None:
        if size <= 1:
            raise ResourceError(
                f"{self.device}: out of memory with a single tile",
                "close other programs that use the card, or use --device cpu",
            )
        self._limit = size // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @torch.inference_mode()
    def _forward(self, number: int, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        device = self._devices[number]
        bytes_ = torch.from_numpy(np.ascontiguousarray(images))
        if device.type == "cuda":
            bytes_ = bytes_.pin_memory()
        x = bytes_.to(device, non_blocking=True).permute(0, 3, 1, 2)
        x = (x.float() - self._scaling.mean) / self._scaling.std
        with torch.autocast(
            device.type, DTYPES[self._precision], enabled=self._precision != "fp32"
        ):
            logits: Tensor = self._nets[number](x.contiguous(memory_format=torch.channels_last))
        probability = (logits.float() / self._temperature).sigmoid()[:, 0]
        result: NDArray[np.float32] = probability.cpu().numpy()
        return result


def _joined(parts: Sequence[NDArray[np.float32]], shape: tuple[int, ...]) -> NDArray[np.float32]:
    return np.concatenate(parts) if parts else np.empty((0, *shape), np.float32)
