"""`crackgeo train`: train a model from a configuration file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from .console import Console
from .options import console_options, training_extra


@click.command("train")
@click.argument("config", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder with the manifest that the configuration names.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the run. A run that was interrupted there goes on where it stopped, with the "
    "numbers that the configuration has now.",
)
@click.option(
    "--start",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Begin a new run from this checkpoint or model file instead of ImageNet. Given several "
    "times: from the mean of their weights.",
)
@click.option(
    "--teacher",
    multiple=True,
    metavar="MODEL",
    help="Learn what this model, or this checkpoint of crackgeo train, says, as the configuration "
    "weighs it. Given several times: they take turns.",
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda|cuda:N|mps",
    help="Where to train. auto: the graphics card if there is one.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    metavar="N",
    help="Chance of another run of the same configuration, to see the spread or to average both.",
)
@console_options
def train_command(
    console: Console,
    config: Path,
    data: Path,
    output: Path,
    start: tuple[Path, ...],
    teacher: tuple[str, ...],
    device: str,
    seed: int | None,
) -> None:
    """Train the network that a TOML file describes, see training/configs/.

    The folder receives checkpoint.pt and log.csv and, where the configuration asks for looks on
    the way, val.csv, curves.png and sheets of predictions. Ctrl-C leaves a checkpoint to go on
    from; `python -m crackgeo_training.export` makes a model file of it.
    """
    with training_extra("train"):
        from crackgeo_training.config import load_config
        from crackgeo_training.learning.train import train

    asked = load_config(config)
    given = {"seed": seed, "teacher": teacher or None}
    told = {name: value for name, value in given.items() if value is not None}
    asked = replace(asked, train=replace(asked.train, **told))
    with console.monitor() as monitor:
        checkpoint = train(asked, data, output, console.note, monitor, start, device)
    console.result({"checkpoint": str(checkpoint)}, f"checkpoint      {checkpoint}")
