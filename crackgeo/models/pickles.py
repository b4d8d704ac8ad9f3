"""Reading `.pth` files that others made, without letting them run anything.

A pickle is a program. `torch.load(weights_only=True)` restricts it, but has been got around
twice (CVE-2025-32434, CVE-2026-24747). So before it sees a file: torch must be new enough, the
file must be in torch's zip format, and its pickle may name nothing but tensors and their
storage. There is no second attempt by other means.
"""

from __future__ import annotations

import pickletools
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor

from ..errors import ModelError
from .memory import is_out_of_memory, memory_errors
from .reading import begins_as_safetensors, read_errors

TORCH_MIN = (2, 10)
_ZIP_MAGIC = b"PK\x03\x04"
_NAMES_MAX_BYTES = 64 << 20  # a state dict's pickle holds names and shapes only
_ALLOWED = frozenset(
    {
        "collections OrderedDict",
        "torch._utils _rebuild_parameter",
        "torch._utils _rebuild_tensor_v2",
        *(
            f"torch {t}Storage"
            for t in ("Float", "Half", "BFloat16", "Double", "Long", "Int", "Byte")
        ),
    }
)
# harmless, but no weights: booleans, whole numbers of other sizes, complex, sparse, quantised
_OTHER_TENSORS = re.compile(
    r"torch \w+Storage|torch\._utils _rebuild_\w*tensor\w*|torch\.serialization _get_layout"
)
_WRAPPERS = ("state_dict", "model", "model_state_dict", "network", "module")
_AGAIN = "get the file again, from its authors"
_TEXT_OPCODES = {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"}
# they carry no text and leave none on the stack, so what STACK_GLOBAL takes is what came before
_MEMO_OPCODES = {"MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT"}


def read_pickle(path: Path) -> dict[str, Tensor]:
    """The tensors of a `.pth` file.

    Raises
    ------
    ModelError
        torch is too old, the file is damaged, would run code, or holds something else.
    ResourceError
        Memory did not suffice.
    """
    _check_torch()
    with read_errors(path), memory_errors(path):
        _check_content(path)
        content = _load(path)
    if not _are_tensors(content):
        raise ModelError(
            f"{path}: holds something else than named tensors",
            f"give the state dict alone, as SAM and CrackSAM publish it{_wrapped(content)}",
        )
    return content


def _load(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a pickle can make its reader fail in any way
        if is_out_of_memory(error):
            raise
        raise ModelError(f"{path}: truncated or damaged ({_first_line(error)})", _AGAIN) from error


def _are_tensors(content: Any) -> TypeGuard[dict[str, Tensor]]:
    return isinstance(content, dict) and all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items()
    )


def _wrapped(content: Any) -> str:
    """Where in a training checkpoint the state dict lies, if it holds one."""
    inside = content if isinstance(content, dict) else {}
    name = next((name for name in _WRAPPERS if _are_tensors(inside.get(name))), None)
    return f": it lies in this file under {name!r}" if name else ""


def _check_torch() -> None:
    found = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if found < TORCH_MIN:
        raise ModelError(
            f"torch {torch.__version__} has a known hole in reading .pth files",
            f"update torch to {'.'.join(map(str, TORCH_MIN))} or later, or use safetensors files",
        )


def _check_content(path: Path) -> None:
    if not path.is_file():
        raise ModelError(f"{path}: no such file", "check the path")
    if begins_as_safetensors(path):
        raise ModelError(f"{path}: is a safetensors file", "name it .safetensors")
    with path.open("rb") as file:
        begins_as_archive = file.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC
    # torch goes by the first bytes and zipfile by the last; otherwise it is torch's old format
    if not (begins_as_archive and zipfile.is_zipfile(path)):
        raise ModelError(
            f"{path}: truncated, or not a .pth file of torch >= 1.6 (no zip archive)", _AGAIN
        )
    for name in _globals(path):
        if name not in _ALLOWED:
            if _OTHER_TENSORS.fullmatch(name):
                raise ModelError(
                    f"{path}: holds tensors of a kind that weights do not have "
                    f"({name.replace(' ', '.')})",
                    "weights are dense tensors of floating-point numbers",
                )
            raise ModelError(
                f"{path}: refused, it asks for {name.replace(' ', '.')} and so could run code",
                "do not use this file; weights need tensors only",
            )


def _globals(path: Path) -> Iterator[str]:
    """Everything that the archive's pickle imports, as `module name`, without running it."""
    try:
        yield from _imports(_program(path))
    except (zipfile.BadZipFile, RuntimeError, ValueError, EOFError, OSError) as error:
        if is_out_of_memory(error):
            raise
        raise ModelError(f"{path}: truncated or damaged ({_first_line(error)})", _AGAIN) from error


def _program(path: Path) -> bytes:
    """The pickle that `torch.load` will run, from its own reader: two could see two archives."""
    with zipfile.ZipFile(path) as archive:
        pickles = [x for x in archive.infolist() if x.filename.lower().endswith(".pkl")]
    if len(pickles) != 1 or pickles[0].file_size > _NAMES_MAX_BYTES:
        raise ModelError(f"{path}: not a .pth file of torch", _AGAIN)
    with path.open("rb") as file:  # by its name it would have to be UTF-8
        program: bytes = torch._C.PyTorchFileReader(file).get_record("data.pkl")
    return program


def _imports(program: bytes) -> Iterator[str]:
    texts: list[str] = []
    for opcode, argument, _ in pickletools.genops(program):
        if opcode.name in ("GLOBAL", "INST"):
            yield str(argument)
        elif opcode.name == "STACK_GLOBAL":
            yield " ".join(texts[-2:]) if len(texts) >= 2 else "hidden"
        elif opcode.name.startswith("EXT"):
            yield f"extension {argument}"
        if opcode.name in _TEXT_OPCODES:
            texts.append(str(argument))
        elif opcode.name not in _MEMO_OPCODES:
            texts.clear()


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0][:200]
