"""`crackgeo models`: weights and model files."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .console import Console
from .options import console_options, output_option, overwrite_option

if TYPE_CHECKING:
    from ..models.weights import Listed


@click.group("models")
def models() -> None:
    """List, fetch, import, verify and export crack models.

    `compact` comes with crackgeo. To use CrackSAM, fetch SAM's weights and a delta, and import
    the two as one model file:

    \b
        crackgeo models fetch sam-vit-h cracksam-adapter-d32
        crackgeo models import --sam sam-vit-h --delta cracksam-adapter-d32 -o cracksam.safetensors
        crackgeo map survey.tif -o cracks.gpkg --model cracksam.safetensors
    """


@models.command("list")
@console_options
def list_command(console: Console) -> None:
    """Show the models that are there and the weights that can be fetched."""
    from ..models.weights import list_models

    rows = list_models()
    values = [{**asdict(row), "path": str(row.path)} for row in rows]
    console.result({"models": values}, "\n".join(_line(row) for row in rows))


@models.command("fetch")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@console_options
def fetch_command(console: Console, names: tuple[str, ...]) -> None:
    """Download published weights into the cache, and check them.

    A download that breaks off goes on where it ended when the command is run again. The cache
    is the folder in CRACKGEO_HOME; proxies are taken from https_proxy and no_proxy.
    """
    from ..models.weights import fetch

    with console.monitor() as monitor:
        paths = [fetch(name, monitor) for name in names]
    files = dict(zip(names, map(str, paths), strict=True))
    console.result({"files": files}, "\n".join(files.values()))


@models.command("import")
@click.option("--sam", required=True, metavar="FILE|NAME", help="SAM: .pth, or .safetensors.")
@click.option("--delta", required=True, metavar="FILE|NAME", help="A delta file of CrackSAM.")
@click.option(
    "--scale",
    type=float,
    help="Weight of the adapters beside the MLPs, which the delta file does not hold. Default: "
    "that of the published delta, else 0.2, the paper's best.",
)
@output_option
@overwrite_option
@console_options
def import_command(console: Console, output: Path, **options: Any) -> None:
    """Make a model file of SAM's weights and a CrackSAM delta.

    The result is a safetensors file for --model. A .pth file that is not one of the published
    ones should come from someone you trust.
    """
    from ..models.importing import import_model

    with console.monitor() as monitor:
        metadata = import_model(output=output, monitor=monitor, **options)
    text = f"{output}: {metadata['vit']}, {metadata['delta']}"
    console.result({"output": str(output), "metadata": metadata}, text)


@models.command("verify")
@click.argument("model", metavar="NAME|PATH")
@console_options
def verify_command(console: Console, model: str) -> None:
    """Check that a model or weights file is whole and what it claims to be."""
    from ..models.weights import verify

    found = verify(model)
    claim = "as published" if found.known else "whole; there is no published checksum to compare"
    values = {**asdict(found), "path": str(found.path)}
    console.result(values, f"{found.path}: {found.kind}, {claim}\nsha256 {found.sha256}")


@models.command("export")
@click.argument("model", metavar="NAME|PATH")
@output_option
@overwrite_option
@console_options
def export_command(console: Console, model: str, output: Path, overwrite: bool) -> None:
    """Write a model as ONNX, for other programs, with a description in STAC's terms beside it.

    Needs the extra packages of: pip install 'crackgeo[export]'
    """
    from ..models.export import export_onnx

    result = export_onnx(model, output, overwrite)
    files = {k: str(v) for k, v in asdict(result).items() if isinstance(v, Path)}
    lines = [*files.values(), f"largest difference {result.difference:.1e}"]
    console.result({**files, "difference": result.difference}, "\n".join(lines))


def _line(row: Listed) -> str:
    size = "?" if row.size_bytes is None else f"{row.size_bytes / 1e6:.0f} MB"
    state = "here" if row.there else "-"
    lines = [f"{row.name:<22} {row.kind:<6} {state:<5} {size:>8}  {row.about}"]
    lines += [f"    {label}: {text}" for label, text in _details(row) if text]
    return "\n".join(lines)


def _details(row: Listed) -> list[tuple[str, str]]:
    return [("licence", row.licence), ("source", row.source), ("file", str(row.path))]
