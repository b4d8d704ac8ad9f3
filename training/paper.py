"""Run a table of the CrackSAM paper: train each of its rows, score it, print the table.

    python -m crackgeo_training.paper 3 --data KHANHHA --also ROAD420 -o WORK

KHANHHA has a manifest with the splits train, val and test, as `crackgeo chips` makes it of that
data set's folder. A row that is done is not run again, one that was interrupted goes on.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import torch

from crackgeo.cli.console import Console
from crackgeo.errors import CrackgeoError, UsageError
from crackgeo.files import output_errors
from crackgeo.models.sam import VITS, build_cracksam
from crackgeo.monitor import SILENT, Monitor

from .finetuning.bases import Base, parse_delta, save_delta, start_cracksam, start_peer
from .finetuning.fit import CHECKPOINT, fit
from .finetuning.jobs import FinetuneSpec, fingerprint, training_job
from .finetuning.local_data import LocalData, load_data
from .paper_tables import PAPER, TEST, PaperConfig, Row, RowResult, Table, load_paper, to_markdown
from .pictures.records import Record
from .scoring.evaluate import evaluate, find_records

RESULT, DELTA = "result.json", "delta.safetensors"
SAMS = {f"sam-{name.replace('_', '-')}": config for name, config in VITS.items()}


@dataclass(frozen=True)
class Sources:
    """What rows learn from and are scored on.

    Parameters
    ----------
    data : train and validation pictures
    scored : pictures to score by column; `TEST` is the test split of the same folder
    """

    data: LocalData
    scored: Mapping[str, Sequence[Record]]


def read_sources(folder: Path, also: Sequence[Path] = ()) -> Sources:
    """Read the folder to learn from, and others to score on as well.

    Raises
    ------
    InputError
        A folder, a split or a crack is missing.
    UsageError
        Two folders have one name.
    """
    scored = {TEST: find_records(folder, TEST)}
    for other in also:
        name = other.resolve().name
        if name in scored:
            raise UsageError(f"--also: two folders are called {name}", "rename one")
        scored[name] = find_records(other, None)
    return Sources(load_data(folder, most_judged=None), scored)


def row_spec(config: PaperConfig, row: Row, pictures: int, **options: Any) -> FinetuneSpec:
    """The paper's recipe for a row: validated once a pass, best IoU wins, no early end.

    Parameters
    ----------
    config : epochs, batch and rates
    row : CrackSAM or a peer
    pictures : to learn from
    options : fields of the spec to set otherwise
    """
    batch = options.get("batch") or config.batch
    epoch = max(1, pictures // (batch * (options.get("accumulate") or 1)))
    iterations = options.get("iterations") or config.epochs * epoch
    asked = {name: value for name, value in options.items() if value is not None}
    told = {"batch": batch, "iterations": iterations, "epoch": min(epoch, iterations)}
    lr = config.peer_lr if row.peer else config.lr
    return FinetuneSpec(**{"lr": lr, "patience": iterations, "chosen_by": "iou", **asked, **told})


def row_base(row: Row, pretrained: bool = False) -> Base:
    """The network of a row as it begins."""
    if row.peer:
        return start_peer(row.peer, pretrained)
    return start_cracksam(row.base, parse_delta(row.delta))


def count_parameters(row: Row) -> RowResult:
    """A row with its numbers of parameters alone; SAM's weights are not needed."""
    if row.base in SAMS:
        with torch.device("meta"):
            network: torch.nn.Module = build_cracksam(SAMS[row.base], parse_delta(row.delta))
    else:
        network = row_base(row).network
    return RowResult(row.name, *_counts(network))


def run_row(
    row: Row,
    table: Table,
    sources: Sources,
    spec: FinetuneSpec,
    folder: Path,
    device: str = "auto",
    pretrained: bool = False,
    monitor: Monitor = SILENT,
) -> RowResult:
    """Train and score one row, or read what was found before.

    Parameters
    ----------
    row, table : what to train, and what to score it on
    sources : pictures
    spec : how to train
    folder : of the row; receives the run (see `fit`), `result.json` and the delta of a CrackSAM
    device : see `models.registry.load_model`
    pretrained : let a peer begin with ImageNet weights
    monitor : progress; may cancel, which leaves a checkpoint

    Raises
    ------
    UsageError
        The folder holds a run with other data or options.
    CrackgeoError
        See `fit`, `evaluate`, `start_cracksam`, `build_peer`.
    """
    story = _story(row, table, sources, spec, pretrained)
    if (folder / RESULT).is_file():
        return _read_result(folder / RESULT, story)
    torch.manual_seed(spec.seed)
    base = row_base(row, pretrained)
    parameters, tunable = _counts(base.network)
    job, fit_spec = training_job(base, sources.data, spec, device, monitor)
    mark = fingerprint(base, sources.data, spec, fit_spec.dtype)
    fit(job, fit_spec, folder, mark, monitor)
    if not row.peer:
        save_delta(folder / DELTA, base, {"row": row.name}, overwrite=True)
    result = RowResult(
        row.name, parameters, tunable, _scores(base, table, sources, device, monitor)
    )
    with output_errors(folder):
        text = json.dumps({"story": story, **asdict(result)}, indent=1)
        (folder / RESULT).write_text(text + "\n", encoding="utf-8")
    return result


def _scores(
    base: Base, table: Table, sources: Sources, device: str, monitor: Monitor
) -> dict[str, dict[str, float]]:
    """Metrics by column: the test split as it is and disturbed, further sets as they are."""
    segmenter = base.segmenter(device)
    found = {}
    for name, records in sources.scored.items():
        variants = table.variants if name == TEST else table.variants[:1]
        judged = evaluate(segmenter, records, variants=variants, monitor=monitor)
        pooled = {score.variant: score for score in judged.scores}  # the last one pools all sets
        for variant, score in pooled.items():
            column = name if variant == "clean" else variant
            found[column] = {key: value.value for key, value in score.metrics.items()}
    return found


def _counts(network: torch.nn.Module) -> tuple[int, int]:
    sizes = [(p.numel(), p.requires_grad) for p in network.parameters()]
    return sum(n for n, _ in sizes), sum(n for n, learns in sizes if learns)


def _story(
    row: Row, table: Table, sources: Sources, spec: FinetuneSpec, pretrained: bool
) -> dict[str, Any]:
    """What a result depends on, as JSON gives it back."""
    pictures = {name: len(records) for name, records in sources.scored.items()}
    pictures |= {"train": len(sources.data.train), "val": len(sources.data.val)}
    said = {"row": asdict(row), "variants": table.variants, "pretrained": pretrained}
    story = {**said, "spec": asdict(spec), "pictures": pictures}
    return dict(json.loads(json.dumps(story)))


def _read_result(path: Path, story: dict[str, Any]) -> RowResult:
    told = json.loads(path.read_text(encoding="utf-8"))
    if told.pop("story") != story:
        raise UsageError(
            f"{path}: was made with other data or options",
            "give the same command, another folder with -o, or --overwrite",
        )
    return RowResult(**told)


def _chosen(table: Table, number: str, names: Sequence[str]) -> list[Row]:
    """The rows of these names, all where none is named."""
    known = [row.name for row in table.rows]
    if lost := [name for name in names if name not in known]:
        rows = f"one of: {'; '.join(known)}"
        raise UsageError(f"--row: table {number} has no row {lost[0]!r}", rows)
    return [row for row in table.rows if not names or row.name in names]


def _begin_anew(folder: Path) -> None:
    """Remove a row's run, done or interrupted."""
    if any((folder / name).is_file() for name in (RESULT, CHECKPOINT)):
        with output_errors(folder):
            shutil.rmtree(folder)


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name)


@click.command("paper")
@click.argument("number", metavar="TABLE")
@click.option("--data", type=click.Path(path_type=Path, file_okay=False), help="With a manifest.")
@click.option("--also", multiple=True, type=click.Path(path_type=Path), help="Score on this, too.")
@click.option("-o", "--work", type=click.Path(path_type=Path, file_okay=False), help="Of all runs.")
@click.option("--config", default=PAPER, type=click.Path(path_type=Path), help="Other tables.")
@click.option("--row", "names", multiple=True, help="Only this row; may be repeated.")
@click.option("--count", is_flag=True, help="Only count parameters; needs no data and no weights.")
@click.option("--iterations", type=click.IntRange(min=1), help="Instead of the recipe's epochs.")
@click.option("--batch", type=click.IntRange(min=1), help="Pictures in a pass.")
@click.option("--accumulate", type=click.IntRange(min=1), help="Passes in a step.")
@click.option("--spare-memory", is_flag=True, default=None, help="Recompute instead of remember.")
@click.option("--precision", help="fp32, bf16 or fp16. Default: fp16 on a CUDA card.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Of all chance.")
@click.option("--pretrained", is_flag=True, help="Peers begin with ImageNet weights.")
@click.option("--device", default="auto", show_default=True)
@click.option("--overwrite", is_flag=True, help="Run rows again that were run, or begun, before.")
def main(
    number: str,
    data: Path | None,
    also: tuple[Path, ...],
    work: Path | None,
    config: Path,
    names: tuple[str, ...],
    count: bool,
    pretrained: bool,
    device: str,
    overwrite: bool,
    **options: Any,
) -> None:
    """Run a table of the paper and print it: 1 to 7."""
    console = Console()
    try:
        paper = load_paper(config)
        table = paper.table(number)
        rows = _chosen(table, number, names)
        if count:
            print(to_markdown(table, [count_parameters(row) for row in rows]))
            return
        if data is None or work is None:
            raise UsageError("a table needs --data and -o", "or --count to count parameters only")
        sources = read_sources(data, also)
        results = []
        with console.monitor() as monitor:
            for row in rows:
                folder = work / f"table_{number}" / _slug(row.name)
                if overwrite:
                    _begin_anew(folder)
                spec = row_spec(paper, row, len(sources.data.train), **options)
                results.append(
                    run_row(row, table, sources, spec, folder, device, pretrained, monitor)
                )
        text = to_markdown(table, results)
        (work / f"table_{number}.md").write_text(text, encoding="utf-8")
        print(text)
    except CrackgeoError as error:
        console.error(error, error.exit_code)
        raise SystemExit(error.exit_code) from error


if __name__ == "__main__":
    main()
