"""What QGIS is told about the algorithms, held against the engine's own command line."""

import re
from pathlib import Path

import pytest
from qgis.core import QgsApplication, QgsProcessingParameterDefinition

pytestmark = pytest.mark.qgis
ROOT = Path(__file__).parents[2]
NAMES = {
    "mapcracks": "map",
    "predictprobability": "predict",
    "vectorizecracks": "vectorize",
    "rasterinfo": "info",
    "finetune": "finetune",
}
ALL = [*NAMES, "checkengine"]
# Options of the command line that make no sense, or are given always, in QGIS.
LEFT_OUT = {
    "--help", "--progress", "--json", "--quiet", "--verbose", "--overwrite", "--quicklook",
    "--no-timing", "--report",
    # of surveys in many files, computed on many machines
    "--crs", "--on-error", "--scheduler", "--workers",
    # of finetune: for those who train from folders, or know what they do
    "--data", "--delta", "--resume", "--layer", "--width-field", "--chip-px", "--val-share",
    "--batch", "--accumulate", "--spare-memory", "--lr", "--unfreeze", "--replay",
    "--replay-share", "--epoch", "--patience", "--seed", "--recalibrate",
}  # fmt: skip


def algorithm(name):
    return QgsApplication.processingRegistry().algorithmById(f"crackgeo:{name}")


def documented(command):
    """Options of a command and their help, from the reference that the engine's tests hold."""
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    section = text.partition(f"## crackgeo {command}\n")[2].partition("\n## ")[0]
    parts = re.split(r"^ {2}(?:-\w, )?(--[a-z-]+)", section, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], (" ".join(said.split()) for said in parts[1::2]), strict=True))


def documented_defaults(command):
    """Defaults that the reference tells, by option."""
    found = {o: re.search(r"\[default: ([^];]+)", said) for o, said in documented(command).items()}
    return {option: match[1] for option, match in found.items() if match}


def test_the_provider_has_the_algorithms(provider):
    assert sorted(a.name() for a in provider.algorithms()) == sorted(ALL)
    assert provider.id() == "crackgeo"
    assert not provider.icon().isNull()


@pytest.mark.parametrize("name", ALL)
def test_every_algorithm_says_what_it_is(provider, name):
    a = algorithm(name)
    assert a.displayName()
    assert a.shortDescription() in a.shortHelpString()
    assert a.helpUrl() == ""  # only the zip has pages, see test_zip.py
    assert len(a.tags()) >= 4
    assert not a.icon().isNull()
    assert a.group()


@pytest.mark.parametrize("name", ALL)
def test_every_parameter_has_help(provider, name):
    for parameter in algorithm(name).parameterDefinitions():
        assert len(parameter.help()) > 15, parameter.name()
        assert parameter.help() in algorithm(name).shortHelpString()


@pytest.mark.parametrize("name", NAMES)
def test_the_options_are_those_of_the_command_line(provider, name):
    options = {p.option for p in algorithm(name).PARAMETERS if p.option}
    known = set(documented(NAMES[name]))
    assert known, f"docs/cli.md does not know {NAMES[name]}"
    assert options <= known
    assert known - options <= LEFT_OUT


@pytest.mark.parametrize("name", NAMES)
def test_the_defaults_are_those_of_the_command_line(provider, name):
    theirs = documented_defaults(NAMES[name])
    ours = {p.option: p.default for p in algorithm(name).PARAMETERS if p.option in theirs}
    assert ours, "nothing to compare"
    for option, default in ours.items():
        if default in (None, ""):  # the option is not given then
            continue
        kind = float if isinstance(default, int | float) else str
        assert kind(theirs[option]) == default, option


def test_what_only_experts_need_is_advanced(provider):
    a = algorithm("mapcracks")
    flag = QgsProcessingParameterDefinition.Flag.FlagAdvanced
    advanced = {p.name() for p in a.parameterDefinitions() if p.flags() & flag}
    assert {"THRESHOLD", "THRESHOLD_LOW", "OVERLAP", "DEVICE"} <= advanced
    assert not {"INPUT", "MODEL", "AOI", "EXTENT", "GSD", "MIN_LENGTH", "OUTPUT"} & advanced


def test_outputs_are_typed(provider):
    kinds = {o.name(): o.type() for o in algorithm("mapcracks").outputDefinitions()}
    assert kinds["OUTPUT"] == kinds["COVERAGE"] == kinds["POLYGONS"] == "outputVector"
    assert kinds["PROBABILITY"] == "outputRaster"
    assert (
        kinds["COUNT"] == kinds["LENGTH"] == kinds["LONGEST"] == kinds["WIDEST"] == "outputNumber"
    )
    model = {o.name(): o.type() for o in algorithm("finetune").outputDefinitions()}
    assert model["OUTPUT"] == "outputFile"
