"""Weights that others publish: what they are, where they come from, and their checksums."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ..errors import ModelError
from ..monitor import SILENT, Monitor
from .reading import read_errors

_SAM = "https://dl.fbaipublicfiles.com/segment_anything"
# the commit whose checkpoints have the checksums below
_CRACKSAM = (
    "https://raw.githubusercontent.com/KG-TSI-Civil/CrackSAM/"
    "f7726cb8b5e0993ef150166595d308d34abd9452/CrackSAM/checkpoints"
)
_NONE_STATED = "none stated by its authors: for your own use, not for passing on"
_CHUNK_BYTES = 1 << 22


@dataclass(frozen=True)
class Digests:
    """Checksums of a file, hexadecimal."""

    sha256: str
    git_sha1: str


@dataclass(frozen=True)
class Published:
    """One published file.

    Parameters
    ----------
    name : how crackgeo calls it
    kind : `sam` or `delta`
    url : where its authors keep it
    digest : hexadecimal; 64 digits are SHA-256, 40 are git's blob SHA-1
    licence, about : for people
    size_bytes : None where the authors do not state it
    scale : of the adapters, for deltas that have some; the file does not hold it
    """

    name: str
    kind: str
    url: str
    digest: str
    licence: str
    about: str
    size_bytes: int | None = None
    scale: float | None = None

    @property
    def filename(self) -> str:
        """As its authors call it."""
        return self.url.rsplit("/", 1)[1]

    def check(self, path: Path) -> None:
        """Compare a file with the checksum, before anything reads it.

        Raises
        ------
        ModelError
            It is another file, or damaged.
        """
        self.check_digests(path, digests(path))

    def check_digests(self, path: Path, found: Digests) -> None:
        """As `check`, of a file whose checksums are known already."""
        if self.digest not in (found.sha256, found.git_sha1):
            own = found.sha256 if len(self.digest) == 64 else found.git_sha1
            raise ModelError(
                f"{path}: wrong checksum {own}, {self.filename} has {self.digest}",
                f"delete it and get it again: crackgeo models fetch {self.name}",
            )


PUBLISHED = (
    Published(
        "sam-vit-b",
        "sam",
        f"{_SAM}/sam_vit_b_01ec64.pth",
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        "Apache-2.0",
        "Segment Anything, ViT-B",
        375_042_383,
    ),
    Published(
        "sam-vit-l",
        "sam",
        f"{_SAM}/sam_vit_l_0b3195.pth",
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        "Apache-2.0",
        "Segment Anything, ViT-L",
        1_249_524_607,
    ),
    Published(
        "sam-vit-h",
        "sam",
        f"{_SAM}/sam_vit_h_4b8939.pth",
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        "Apache-2.0",
        "Segment Anything, ViT-H",
        2_564_550_879,
    ),
    Published(
        "cracksam-adapter-d32",
        "delta",
        f"{_CRACKSAM}/CrackSAM_adapter_d32.pth",
        "bf48ac2ee106fe622863cf4f8c4c2b294101713d",
        _NONE_STATED,
        "CrackSAM's delta for ViT-H: adapters of dimension 32",
        scale=0.2,
    ),
    Published(
        "cracksam-lora-r4",
        "delta",
        f"{_CRACKSAM}/CrackSAM_lora_qv_r4.pth",
        "619c40e794c65c50c44cca74536cbe6aaebc8eb3",
        _NONE_STATED,
        "CrackSAM's delta for ViT-H: LoRA of rank 4 on q and v",
    ),
    Published(
        "cracksam-adapter-lora",
        "delta",
        f"{_CRACKSAM}/CrackSAM_adapter_lora_d32_r8.pth",
        "72563eb0b2bb067d52969f6cc7818566a67a02d5",
        _NONE_STATED,
        "CrackSAM's delta for ViT-H: adapters of dimension 32 and LoRA of rank 8",
        scale=0.2,
    ),
)


def published(name: str) -> Published | None:
    """The published file of this name, if there is one."""
    return next((item for item in PUBLISHED if item.name == name), None)


def identify(path: Path, monitor: Monitor = SILENT) -> tuple[Digests, Published | None]:
    """A file's checksums, and which published file it is, if any; reads bytes only.

    Raises
    ------
    ModelError
        It bears the name of a published file, but is another; or it cannot be read.
    """
    found = digests(path, monitor)
    for item in PUBLISHED:
        if item.filename == path.name:
            item.check_digests(path, found)
        if item.digest in (found.sha256, found.git_sha1):
            return found, item
    return found, None


def sha256_of(path: Path) -> str:
    """Checksum of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests(path: Path, monitor: Monitor = SILENT) -> Digests:
    """Checksums of a file, in one pass; git's is that of `blob SIZE`, a zero byte, the content.

    Parameters
    ----------
    path : the file
    monitor : progress in bytes; may cancel
    """
    sha256 = hashlib.sha256()
    done = 0
    with read_errors(path), path.open("rb") as file:
        size = path.stat().st_size
        git = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
        while chunk := file.read(_CHUNK_BYTES):
            sha256.update(chunk)
            git.update(chunk)
            done += len(chunk)
            monitor.step("checksum", done, max(size, done))
    return Digests(sha256.hexdigest(), git.hexdigest())
