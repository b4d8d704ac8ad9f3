"""Runs a network on tiles: normalisation, precision, batches, several cards.

A network maps float `[N, 3, 448, 448]` to crack logits `[N, 1, 448, 448]`. One that must keep
parts of itself in fp32 offers `set_precision(dtype)`; any other is cast as a whole.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import InputError, ModelError, ResourceError
from .devices import NAMES, resolve_devices, resolve_precision
from .memory import is_out_of_memory
from .modelfile import ModelFile
from .processor import keep_memory, prefer_onednn
from .protocol import ModelInfo

CPU_BATCH = 1  # a tile keeps the cores busy; more is no faster and costs 80 MiB each
CPU_STREAMS_MAX = 4  # batches at once by `predict_each`; 80 MiB each for `compact`
STREAMED_PARAMETERS_MAX = 20_000_000  # a larger network fills the cores with one batch
CARD_BATCH_MAX = 64
CARD_MEMORY_SHARE = 0.6  # of the free memory; the rest is for fragmentation and other programs


@runtime_checkable
class OwnPrecision(Protocol):
    """A network that knows which of its parts bear low precision."""

    def set_precision(self, dtype: torch.dtype) -> None:
        """Compute in `dtype` where that is safe."""
        ...


@dataclass(frozen=True)
class Scaling:
    """From pixels to what the network takes, and from its logits to probabilities.

    Parameters
    ----------
    factor, offset : input = RGB * factor + offset, RGB from 0 to 255
    temperature : probability = sigmoid(logit / temperature)
    """

    factor: float
    offset: float
    temperature: float = 1.0

    @classmethod
    def of(cls, file: ModelFile) -> Scaling:
        """What a model file says."""
        return cls(*file.normalisation, file.temperature)


class TorchSegmenter:
    """A network as a `Segmenter`.

    Parameters
    ----------
    network : see the module; it is taken over, in eval mode
    info : what the model is
    scaling : its normalisation and temperature
    device, precision : as on the command line
    batch_size : tiles run at once on each device; None chooses
    """

    def __init__(
        self,
        network: nn.Module,
        info: ModelInfo,
        scaling: Scaling,
        device: str = "auto",
        precision: str = "auto",
        batch_size: int | None = None,
    ) -> None:
        self.devices = resolve_devices(device)
        self.dtype = resolve_precision(precision, *self.devices)
        self._info = info
        self._scaling = scaling
        prepared = _prepare(network, self.dtype)
        if self.devices[0].type == "cpu":
            keep_memory()
            prefer_onednn(prepared)
        self._replicas = [_place(prepared, d, len(self.devices) > 1) for d in self.devices]
        self._chunk = batch_size or self._choose_chunk()

    @property
    def info(self) -> ModelInfo:
        """What the model is."""
        return self._info

    @property
    def batch_size(self) -> int:
        """Tiles to hand over at once: a batch for each device."""
        return self._chunk * len(self.devices)

    @property
    def device(self) -> str:
        """Where it runs, such as `cpu` or `cuda:0 cuda:1`."""
        return " ".join(str(device) for device in self.devices)

    @property
    def precision(self) -> str:
        """`fp32`, `bf16` or `fp16`."""
        return NAMES[self.dtype]

    def predict(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Crack probabilities of RGB tiles.

        Parameters
        ----------
        images : uint8 `[N, 448, 448, 3]`, RGB

        Returns
        -------
        float32 `[N, 448, 448]` in [0, 1]

        Raises
        ------
        InputError
            The array is not such tiles.
        ResourceError
            Not even a single tile fits into memory.
        ModelError
            What comes out is no number: a damaged model, or a precision that it does not bear.
        """
        return self._run(images, probabilities=True)

    def predict_each(
        self, batches: Iterable[NDArray[np.uint8]]
    ) -> Generator[NDArray[np.float32], None, None]:
        """Crack probabilities of one batch after the other, as `predict` gives them.

        A small network leaves cores of a processor idle between its layers. So several batches run
        there at once, each on its share of the cores, and as many are asked for ahead. A card works
        on one, and has the next waiting while the results before are taken.

        Parameters
        ----------
        batches : uint8 `[N, 448, 448, 3]` each

        Yields
        ------
        float32 `[N, 448, 448]`, in the order of the batches; raises like `predict`
        """
        threads = torch.get_num_threads()
        streams = self._streams(threads)
        if streams == 1 and not self._on_cards:
            yield from map(self.predict, batches)
            return
        waiting: deque[Future[NDArray[np.float32]]] = deque()
        try:
            share = (threads // streams,)
            with ThreadPoolExecutor(streams, "tiles", torch.set_num_threads, share) as pool:
                try:
                    for batch in batches:
                        waiting.append(pool.submit(self.predict, batch))
                        if len(waiting) > streams:
                            yield waiting.popleft().result()
                    while waiting:
                        yield waiting.popleft().result()
                finally:
                    for future in waiting:
                        future.cancel()
        finally:
            torch.set_num_threads(threads)  # new threads take what was set last

    @property
    def _on_cards(self) -> bool:
        return self.devices[0].type == "cuda"

    def _streams(self, threads: int) -> int:
        parameters = sum(p.numel() for p in self._replicas[0].parameters())
        is_small = parameters <= STREAMED_PARAMETERS_MAX
        on_cpu = self.devices[0].type == "cpu"
        return min(threads, CPU_STREAMS_MAX) if is_small and on_cpu else 1

    def logits(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Crack logits of RGB tiles before the temperature, float32 `[N, 448, 448]`."""
        return self._run(images, probabilities=False)

    def _run(self, images: NDArray[np.uint8], probabilities: bool) -> NDArray[np.float32]:
        self._check(images)
        out = np.empty(images.shape[:3], np.float32)
        bounds = np.linspace(0, len(images), len(self.devices) + 1).round().astype(int)
        jobs = [
            (replica, images[start:stop], out[start:stop], probabilities)
            for replica, start, stop in zip(self._replicas, bounds, bounds[1:], strict=False)
        ]
        with self._exact():
            if len(jobs) == 1:
                self._run_on(*jobs[0])
            else:
                with ThreadPoolExecutor(len(jobs)) as pool:
                    list(pool.map(lambda job: self._run_on(*job), jobs))
        self._check_numbers(out)
        return out

    def _check(self, images: NDArray[np.uint8]) -> None:
        side = self.info.tile_px
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (side, side, 3):
            raise InputError(
                f"tiles are {images.dtype} {list(images.shape)}, not uint8 [N, {side}, {side}, 3]",
                "cut or scale the images to that size, as RGB",
            )

    def _check_numbers(self, out: NDArray[np.float32]) -> None:
        if np.isfinite(out).all():
            return
        verify = "the file may be damaged: crackgeo models verify"
        raise ModelError(
            f"{self.info.name}: its results in {self.precision} are no numbers",
            verify if self.dtype == torch.float32 else f"use --precision fp32; else {verify}",
        )

    def _run_on(
        self,
        replica: nn.Module,
        images: NDArray[np.uint8],
        out: NDArray[np.float32],
        probabilities: bool,
    ) -> None:
        """Run all images on one device; results are fetched one batch late, so it never waits."""
        waiting: list[tuple[slice, Arriving]] = []
        for part, result in self._batches(replica, images, probabilities):
            waiting.append((part, Arriving(result)))
            if len(waiting) > 1:
                earlier, arriving = waiting.pop(0)
                out[earlier] = arriving.wait()
        for part, arriving in waiting:
            out[part] = arriving.wait()

    def _batches(
        self, replica: nn.Module, images: NDArray[np.uint8], probabilities: bool
    ) -> Iterator[tuple[slice, Tensor]]:
        """Results batch by batch; a batch that does not fit into memory is run in halves."""
        start = 0
        while start < len(images):
            part = slice(start, min(start + self._chunk, len(images)))
            result = self._try_forward(replica, images[part], probabilities)
            if result is None:
                self._halve(part.stop - part.start)
                continue
            yield part, result
            start = part.stop

    def _try_forward(
        self, replica: nn.Module, images: NDArray[np.uint8], probabilities: bool
    ) -> Tensor | None:
        """The result on the device, or None if memory did not suffice."""
        try:
            return self._forward(replica, images, probabilities)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return None

    def _halve(self, tried: int) -> None:
        if tried == 1:
            raise ResourceError(
                f"out of memory on {self.device}, even with one tile at a time",
                "close other programs, or use --device cpu",
            )
        self._chunk = min(self._chunk, tried // 2)

    def _forward(
        self, replica: nn.Module, images: NDArray[np.uint8], probabilities: bool
    ) -> Tensor:
        first = next(replica.parameters())
        with torch.inference_mode():
            pixels = _to_device(images, first.device).permute(0, 3, 1, 2)
            # bytes travel, and become numbers on the device; NHWC is channels-last already
            x = pixels.float().mul_(self._scaling.factor).add_(self._scaling.offset)
            logits: Tensor = replica(x.to(first.dtype))[:, 0].float()
            return (logits / self._scaling.temperature).sigmoid_() if probabilities else logits

    def _exact(self) -> AbstractContextManager[None]:
        """Without TF32 in fp32, which is the reference; convolutions would use it by default.

        The setting is the process's, so it is changed once around all cards' threads.
        """
        if not self._on_cards:
            return nullcontext()
        return torch.backends.cudnn.flags(enabled=True, allow_tf32=self.dtype != torch.float32)

    def _choose_chunk(self) -> int:
        if not self._on_cards:
            return CPU_BATCH
        per_tile = self._card_bytes_per_tile()
        free = min(torch.cuda.mem_get_info(device)[0] for device in self.devices)
        return fitting_batch(free, per_tile)

    def _card_bytes_per_tile(self) -> int:
        """Memory one tile takes on the first card beside the weights, by trying."""
        device, side = self.devices[0], self.info.tile_px
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        tile = np.zeros((1, side, side, 3), np.uint8)
        with self._exact():
            if self._try_forward(self._replicas[0], tile, True) is None:
                self._halve(1)
        torch.cuda.synchronize(device)
        return max(torch.cuda.max_memory_allocated(device) - before, 1)


def fitting_batch(free_bytes: int, bytes_per_tile: int) -> int:
    """The largest power of two of tiles that leaves a card some memory, at most 64."""
    fitting = int(free_bytes * CARD_MEMORY_SHARE) // bytes_per_tile
    return int(min(1 << max(fitting.bit_length() - 1, 0), CARD_BATCH_MAX))


def _prepare(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    network.eval().requires_grad_(False)
    if isinstance(network, OwnPrecision):
        network.set_precision(dtype)
    else:
        network.to(dtype)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _place(network: nn.Module, device: torch.device, shared: bool) -> nn.Module:
    return (copy.deepcopy(network) if shared else network).to(device)


def _to_device(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    # torch shares the memory, so it wants arrays that may be written to
    pixels = torch.from_numpy(np.require(images, requirements=("C", "W")))
    if device.type == "cuda":  # only from pinned memory does a copy run beside the computation
        return pixels.pin_memory().to(device, non_blocking=True)
    return pixels.to(device)


class Arriving:
    """A result on its way from the device; the copy begins at once and nobody waits for it.

    Only into pinned memory does a copy go on by itself.
    """

    def __init__(self, result: Tensor) -> None:
        self._host = result
        self._arrived: torch.cuda.Event | None = None
        if result.device.type == "cuda":
            self._host = torch.empty(result.shape, dtype=result.dtype, pin_memory=True)
            self._host.copy_(result, non_blocking=True)
            self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._arrived.record(torch.cuda.current_stream(result.device))

    def wait(self) -> NDArray[np.float32]:
        """The values, once they are there."""
        if self._arrived is not None:
            self._arrived.synchronize()
        values: NDArray[np.float32] = self._host.cpu().numpy()
        return values
