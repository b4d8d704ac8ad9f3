"""The paper's tables: what their rows are made of, and how results are laid out."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from crackgeo.errors import UsageError

from .learning.peers import PEERS
from .scoring.noise import VARIANTS

PAPER = Path(__file__).parent / "configs" / "paper.toml"
TEST = "test"  # the column of the test split; its disturbed pictures have columns of their own
DETAILS = {"precision": "precision", "recall": "recall", "f1": "F1", "iou": "IoU"}
TITLES = {TEST: "test", "noise1": "noise 1", "noise2": "noise 2"}


@dataclass(frozen=True)
class Row:
    """A network to train, and what the paper found with it.

    Parameters
    ----------
    name : first cell of the row
    base, delta : SAM weights and what is added to them, see `finetuning.bases.parse_delta`
    peer : instead of both, a name of `learning.peers.PEERS`
    published : IoU by column
    """

    name: str
    base: str = ""
    delta: str = ""
    peer: str = ""
    published: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if bool(self.peer) == bool(self.base and self.delta):
            raise UsageError(f"row {self.name}: give it base and delta, or a peer")
        if self.peer and self.peer not in PEERS:
            raise UsageError(f"row {self.name}: no peer {self.peer}", f"one of {', '.join(PEERS)}")


@dataclass(frozen=True)
class Table:
    """Rows that are compared with each other.

    Parameters
    ----------
    title : head of the first column
    rows : from top to bottom
    disturbed : whether to score disturbed test pictures, and to show the IoU alone
    """

    title: str
    rows: tuple[Row, ...]
    disturbed: bool = False

    @property
    def variants(self) -> tuple[str, ...]:
        """The disturbances that the test split is scored under."""
        return VARIANTS if self.disturbed else VARIANTS[:1]


@dataclass(frozen=True)
class PaperConfig:
    """All tables, and the recipe of their rows.

    Parameters
    ----------
    epochs : passes through the training pictures
    batch : pictures in a step
    lr, peer_lr : greatest learning rates of CrackSAM and of its peers
    tables : by number
    """

    epochs: int
    batch: int
    lr: float
    peer_lr: float
    tables: Mapping[str, Table]

    def table(self, number: str) -> Table:
        """A table by its number; UsageError if there is none."""
        if number not in self.tables:
            raise UsageError(f"no table {number}", f"one of {', '.join(self.tables)}")
        return self.tables[number]


@dataclass(frozen=True)
class RowResult:
    """A row with its numbers.

    Parameters
    ----------
    name : as in `Row`
    parameters, tunable : how many, and how many of them learn
    scores : metrics by column; none before a row was run
    """

    name: str
    parameters: int
    tunable: int
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def load_paper(path: Path = PAPER) -> PaperConfig:
    """Read a configuration of tables.

    Raises
    ------
    UsageError
        The file is missing, is no TOML, or says something else than tables of rows.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        tables = {
            number: Table(**{**said, "rows": tuple(Row(**row) for row in said["rows"])})
            for number, said in raw["tables"].items()
        }
        return PaperConfig(**raw["recipe"], peer_lr=raw["peers"]["lr"], tables=tables)
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: not a readable TOML file ({error})") from error
    except (KeyError, TypeError) as error:
        known = ", ".join(f.name for f in fields(Row))
        raise UsageError(f"{path}: {error}", f"rows have {known}; see {PAPER.name}") from error


def to_markdown(table: Table, results: Sequence[RowResult]) -> str:
    """A table in the paper's layout; a published row stands below the one it belongs to.

    Tables 1 to 6 show precision, recall, F1 and IoU on the test split and the IoU on further sets,
    table 7 the IoU everywhere.
    """
    columns = list(dict.fromkeys(name for result in results for name in result.scores))
    details = [] if table.disturbed or not columns else list(DETAILS)
    further = [name for name in columns if not (details and name == TEST)]
    heads = [DETAILS[name] for name in details] + [TITLES.get(name, name) for name in further]
    lines = [_line([table.title, "parameters", "tunable", *heads])]
    lines.append(_line(["---"] * (3 + len(heads))))
    published = {row.name: row.published for row in table.rows}
    for result in results:
        cells = [_cell(result.scores.get(TEST, {}).get(name)) for name in details]
        cells += [_cell(result.scores.get(name, {}).get("iou")) for name in further]
        lines.append(_line([result.name, f"{result.parameters:,}", f"{result.tunable:,}", *cells]))
        if further and published.get(result.name):
            cells = [""] * len(details)
            cells += [_cell(published[result.name].get(name.lower())) for name in further]
            lines.append(_line([f"*{result.name}, published*", "", "", *cells]))
    return "\n".join(lines) + "\n"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _cell(value: Any) -> str:
    return "" if value is None else f"{value:.4f}"
