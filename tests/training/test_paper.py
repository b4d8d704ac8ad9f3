"""The paper's tables: counted in full, run on a tiny SAM."""

from functools import partial

import pytest
import torch
from click.testing import CliRunner
from crackgeo_training import paper
from crackgeo_training.finetuning import jobs
from crackgeo_training.paper_tables import Row, RowResult, Table, load_paper, to_markdown
from pictures import write_folder
from safetensors.torch import save_file
from test_models_cracksam import TINY

from crackgeo.errors import Cancelled, UsageError
from crackgeo.models.modelfile import read_tensors
from crackgeo.models.sam import build_cracksam

PUBLISHED = {  # parameters, and those that learn
    ("5", "LoRA, r = 4"): (637_179_886, 4_439_278),
    ("5", "adapter, d = 32"): (641_851_374, 9_110_766),
    ("5", "both, d = 32, r = 8"): (643_162_094, 10_421_486),
    ("6", "ViT-L, LoRA"): (309_027_054, 4_177_134),
    ("6", "ViT-B, LoRA"): (91_021_806, 3_931_374),
    ("6", "ViT-B, adapter"): (92_073_198, 4_982_766),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """One picture of a set in each split."""
    folder = tmp_path_factory.mktemp("data")
    return write_folder(folder, per_set=1, splits=("train", "val", "test"))


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """A file with two rows on a tiny SAM; samples without a process of their own."""
    monkeypatch.setattr(jobs, "FitSpec", partial(jobs.FitSpec, workers=0))
    torch.manual_seed(5)
    save_file(build_cracksam(TINY).state_dict(), tmp_path / "sam.safetensors")
    sam = tmp_path / "sam.safetensors"
    path = tmp_path / "tiny.toml"
    path.write_text(
        "[recipe]\nepochs = 2\nbatch = 2\nlr = 4e-4\n[peers]\nlr = 1e-4\n"
        '[tables.7]\ntitle = "Model"\ndisturbed = true\nrows = [\n'
        f'{{ name = "head", base = "{sam}", delta = "head", published = {{ test = 0.5 }} }},\n'
        f'{{ name = "LoRA", base = "{sam}", delta = "lora=qv:2" }},\n]\n'
        '[tables.1]\ntitle = "Adapter"\nrows = [\n'
        f'{{ name = "d = 3", base = "{sam}", delta = "adapter=3,scale=0.2" }},\n]\n'
    )
    return path


def run(*arguments):
    return CliRunner().invoke(paper.main, [str(a) for a in arguments])


@pytest.mark.parametrize("place", PUBLISHED)
def test_rows_have_as_many_parameters_as_published(place):
    number, name = place
    [row] = [row for row in load_paper().table(number).rows if row.name == name]
    counted = paper.count_parameters(row)
    assert (counted.parameters, counted.tunable) == PUBLISHED[place]


def test_the_tables_cover_the_papers_experiments():
    tables = load_paper().tables
    assert list(tables) == list("1234567")
    assert all(row.base and row.delta for n in "123456" for row in tables[n].rows)
    assert sum(bool(row.peer) for row in tables["7"].rows) == 12
    assert load_paper().epochs == 140


def test_a_table_is_run_once_and_printed_as_in_the_paper(tables, data, tmp_path, monkeypatch):
    arguments = ["7", "--data", data, "-o", tmp_path / "w", "--config", tables, "--device", "cpu"]
    first = run(*arguments, "--iterations", 1, "--also", data)
    assert first.exit_code == 0, first.output
    lines = first.output.strip().splitlines()
    head = [cell.strip() for cell in lines[0].split("|")[1:-1]]
    assert head == ["Model", "parameters", "tunable", "test", "noise 1", "noise 2", data.name]
    assert [line.split("|")[1].strip() for line in lines[2:]] == [
        "head",
        "*head, published*",
        "LoRA",
    ]
    assert "| 0.5000 |" in lines[3]
    deltas = read_tensors(tmp_path / "w" / "table_7" / "LoRA" / "delta.safetensors")
    assert any(".lora_b." in name for name in deltas)
    assert {"checkpoint.pt", "log.csv", "sheets", "result.json"} <= {
        path.name for path in (tmp_path / "w" / "table_7" / "head").iterdir()
    }
    monkeypatch.setattr(paper, "fit", None)  # what is done is not done again
    again = run(*arguments, "--iterations", 1, "--also", data)
    assert again.output == first.output
    other = run(*arguments, "--iterations", 2, "--also", data)
    assert other.exit_code == 2
    assert "other data or options" in other.output


def test_overwrite_begins_anew_where_a_row_was_interrupted(tables, data, tmp_path, monkeypatch):
    arguments = ["1", "--data", data, "-o", tmp_path / "w", "--config", tables, "--device", "cpu"]
    row = tmp_path / "w" / "table_1" / "d___3"

    def interrupted(*_):
        raise Cancelled

    with monkeypatch.context() as patch:
        patch.setattr(paper, "_scores", interrupted)
        assert run(*arguments, "--iterations", 1).exit_code == 130
    assert (row / "checkpoint.pt").is_file()
    assert run(*arguments, "--iterations", 2).exit_code == 2
    anew = run(*arguments, "--iterations", 2, "--overwrite")
    assert anew.exit_code == 0, anew.output
    lines = (row / "log.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["iteration", "0.0", "1.0", "2.0"]


def test_the_recipe_is_the_papers(tables, data, tmp_path):
    row = load_paper().table("5").rows[0]
    spec = paper.row_spec(load_paper(), row, 9121)
    assert (spec.iterations, spec.epoch) == (140 * 1140, 1140)
    assert (spec.lr, spec.batch, spec.chosen_by) == (4e-4, 8, "iou")
    assert spec.patience >= spec.iterations
    spare = paper.row_spec(load_paper(), row, 9121, batch=2, accumulate=4)
    assert (spare.iterations, spare.epoch, spare.batch) == (spec.iterations, spec.epoch, 2)
    peer = load_paper().table("7").rows[0]
    assert paper.row_spec(load_paper(), peer, 9121).lr == 1e-4
    sources = paper.read_sources(data)
    tiny = load_paper(tables)
    row = tiny.table("1").rows[0]
    short = paper.row_spec(tiny, row, len(sources.data.train))
    assert (short.iterations, short.epoch) == (2, 1)
    result = paper.run_row(row, tiny.table("1"), sources, short, tmp_path / "row", "cpu")
    assert set(result.scores) == {"test"}
    assert len((tmp_path / "row" / "log.csv").read_text().splitlines()) == 4


def test_a_single_table_shows_precision_and_recall():
    table = Table("r", (Row("r = 4", base="sam-vit-h", delta="lora=qv:4"),))
    scores = {"test": {"precision": 0.7, "recall": 0.8, "f1": 0.75, "iou": 0.6}}
    text = to_markdown(table, [RowResult("r = 4", 1000, 10, scores | {"Road420": {"iou": 0.5}})])
    assert text.splitlines() == [
        "| r | parameters | tunable | precision | recall | F1 | IoU | Road420 |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| r = 4 | 1,000 | 10 | 0.7000 | 0.8000 | 0.7500 | 0.6000 | 0.5000 |",
    ]


def test_counting_needs_no_data(tables):
    told = run("6", "--count", "--row", "ViT-B, LoRA")
    assert "| ViT-B, LoRA | 91,021,806 | 3,931,374 |" in told.output
    assert run("1", "--count", "--config", tables).exit_code == 0


def test_what_cannot_be_run_is_said(tables, data, tmp_path):
    assert run("8", "--count").exit_code == 2
    assert run("7", "--config", tables).exit_code == 2
    assert run("7", "--config", tmp_path / "none.toml", "--count").exit_code == 2
    lost = run("1", "--count", "--config", tables, "--row", "d = 3", "--row", "r = 99")
    assert lost.exit_code == 2
    assert "table 1 has no row 'r = 99'" in lost.output
    assert "one of: d = 3" in lost.output
    twice = run("7", "--data", data, "-o", tmp_path, "--also", data, "--also", data)
    assert (twice.exit_code, "two folders" in twice.output) == (2, True)
    with pytest.raises(UsageError, match="base and delta, or a peer"):
        Row("x", base="sam-vit-b")
    with pytest.raises(UsageError, match="no peer resnet"):
        Row("x", peer="resnet")
    broken = tmp_path / "broken.toml"
    broken.write_text('[recipe]\nepochs = 1\n[tables.1]\ntitle = "x"\nrows = []\n')
    with pytest.raises(UsageError, match=r"broken\.toml"):
        load_paper(broken)
