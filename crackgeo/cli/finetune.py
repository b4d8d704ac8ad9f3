"""`crackgeo finetune`: a better model from one's own labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..errors import UsageError
from .console import Console
from .labels import chip_options, chip_specs
from .options import (
    chain,
    console_options,
    output_option,
    overwrite_option,
    raster_options,
    training_extra,
)

recipe_options = chain(
    click.option(
        "--iterations", type=click.IntRange(min=1), default=200, show_default=True,
        help="Steps at most; training ends earlier when validation stops rising.",
    ),
    click.option(
        "--batch", type=click.IntRange(min=1), default=8, show_default=True,
        help="Samples in a pass.",
    ),
    click.option(
        "--accumulate", type=click.IntRange(min=1), default=1, show_default=True,
        help="Passes in a step, for small graphics cards.",
    ),
    click.option(
        "--spare-memory", is_flag=True,
        help="Recompute instead of remember: slower, for small graphics cards; CrackSAM only.",
    ),
    click.option(
        "--lr", type=click.FloatRange(min=0, min_open=True),
        help="Greatest learning rate. Default: the recipe's.",
    ),
    click.option(
        "--unfreeze", type=click.Choice(["all", "decoder", "head"]), default="all",
        show_default=True, help="What of compact learns; of CrackSAM always deltas and head.",
    ),
    click.option(
        "--replay-share", type=click.FloatRange(0, 1, max_open=True), default=0.5,
        show_default=True, help="Share of the samples that is replayed; compact only.",
    ),
    click.option(
        "--epoch", type=click.IntRange(min=1), default=25, show_default=True,
        help="Steps between validations.",
    ),
    click.option(
        "--patience", type=click.IntRange(min=1), default=4, show_default=True,
        help="Validations without a gain after which training ends.",
    ),
    click.option(
        "--precision", type=click.Choice(["auto", "fp32", "bf16", "fp16"]), default="auto",
        show_default=True,
        help="Of training's matrix products. auto: bf16 on a processor that has it, fp16 for "
        "CrackSAM on a CUDA card, else fp32. Validation is in fp32.",
    ),
    click.option(
        "--seed", type=click.IntRange(0, 2**32 - 1), default=1, show_default=True,
        help="Of all chance.",
    ),
    click.option(
        "--recalibrate", is_flag=True,
        help="Choose outline and object rule on the local validation part. Default: keep the "
        "base's; worth it from about 20 validation chips with cracks on. compact only.",
    ),
)  # fmt: skip


@click.command("finetune")
@click.argument("raster", required=False, type=click.Path(path_type=Path))
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Learn from this folder instead of RASTER: chips, or images and masks.",
)
@chip_options
@click.option(
    "--base",
    default="compact",
    show_default=True,
    metavar="NAME|PATH",
    help="The model to begin with.",
)
@click.option(
    "--replay",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder with manifest.csv of older pictures, against forgetting; compact only.",
)
@click.option(
    "--delta",
    metavar="KIND",
    help="Fresh deltas on the SAM weights that --base names: lora=qv:4, adapter=32,scale=0.2, "
    "both with a comma between, or head.",
)
@recipe_options
@click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda|cuda:N|mps",
    help="Where training runs.",
)
@output_option
@click.option("--resume", is_flag=True, help="Go on with a run that was interrupted.")
@overwrite_option
@raster_options
@console_options
def finetune_command(
    console: Console,
    raster: Path | None,
    data: Path | None,
    output: Path,
    base: str,
    delta: str | None,
    replay: Path | None,
    device: str,
    resume: bool,
    overwrite: bool,
    **options: Any,
) -> None:
    """Fine-tune a model on the labelled RASTER (with --labels), and report whether it helped.

    The model file works with --model everywhere. Chips, checkpoint, log, sheets and report.md lie
    beside it in a folder of the same name ending in .run. Ctrl-C leaves a checkpoint.
    """
    with training_extra("finetune"):
        from crackgeo_training.finetuning.finetune import FinetuneSpec, finetune
    if (raster is None) == (data is None):
        raise UsageError("give a RASTER with --labels, or --data DIR; one of the two")

    source = raster if raster is not None else data
    assert source is not None
    cutting = chip_specs(options)
    with console.monitor() as monitor:
        result = finetune(
            source,
            output,
            base,
            FinetuneSpec(**options),
            replay,
            device,
            resume=resume,
            overwrite=overwrite,
            monitor=monitor,
            delta=delta,
            **cutting,
        )
    console.result(result.to_dict(), result.summary())
