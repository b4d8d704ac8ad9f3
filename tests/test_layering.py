"""Imports run one way, and the package starts without its heavy parts."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE, TRAINING = ROOT / "crackgeo", ROOT / "training"

# from the bottom up: a module may import those of its own line and of the lines before it
ENGINE = [
    {"version", "errors", "jsontext", "jit"},
    {"monitor", "specs", "grid", "results"},
    {
        "ground",
        "reproject",
        "interpolation",
        "tiling",
        "fill",
        "vectors",
        "schema",
        "files",
        "work",
    },
    {
        "collar",
        "dataset",
        "gaps",
        "georeference",
        "resample",
        "source",
        "stretch",
        "scaling",
        "virtual",
    },
    {"raster", "probability", "aoi", "bands", "inputs", "warp", "mosaic", "space"},
    {"models"},
    {"stitch", "seams", "predict", "provenance"},
    {
        "blocks",
        "thinning",
        "chains",
        "branches",
        "trust",
        "tips",
        "profiles",
        "skeleton",
        "pixelgraph",
        "measure",
        "network",
        "crossings",
        "attributes",
    },
    {"outlines", "polygons"},
    {"vectorize"},
    {"coverage", "symbology", "layers", "quicklook"},
    {"describe"},
    {"predict_options", "predict_job", "cluster_worker", "cluster", "predict_run"},
    {"sources", "report"},
    {"vector_run"},
    {"pipeline", "survey", "doctor"},
    {"cli"},
    {"__main__"},
]
ROOMS = [
    {"values", "config"},
    {"drawing"},
    {"pictures"},
    {"labelling"},
    {"scoring"},
    {"learning"},
    {"finetuning"},
    {"draw_set", "export", "paper_tables", "paper"},
]
RANKS = {
    package: {name: rank for rank, names in enumerate(layers) for name in names}
    for package, layers in ((PACKAGE, ENGINE), (TRAINING, ROOMS))
}
IMPORTED_AS = {PACKAGE: "crackgeo.", TRAINING: "crackgeo_training."}


def top_level_modules(package):
    paths = [p for p in package.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()]
    return sorted(p.stem for p in paths if p.stem != "__init__")


def imported_names(package, path):
    """Names of a package's own top-level modules that a file in it imports, anywhere in it."""
    depth = len(path.relative_to(package).parts) - 1
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom):
            continue
        if node.module and node.module.startswith(IMPORTED_AS[package]):
            yield node.module.split(".")[1]
        elif node.level == depth + 1:
            yield from [node.module.split(".")[0]] if node.module else [a.name for a in node.names]


def files_of(package, module):
    path = package / module
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


@pytest.mark.parametrize(
    ("package", "module"),
    [(package, module) for package in RANKS for module in top_level_modules(package)],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_imports_run_one_way(package, module):
    rank = RANKS[package]
    assert module in rank, f"say in tests/test_layering.py where {module} belongs"
    for path in files_of(package, module):
        for name in imported_names(package, path):
            assert rank[name] <= rank[module], f"{path.name} imports {name}, which lies above it"


def test_the_wheel_has_every_room():
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"][
        "packages"
    ]
    for package, prefix in IMPORTED_AS.items():
        rooms = {prefix + p.parent.name for p in package.glob("*/__init__.py")}
        assert rooms == {name for name in packages if name.startswith(prefix)}


def test_importing_the_package_loads_nothing_heavy():
    code = "import crackgeo, sys; print(*sorted({m.split('.')[0] for m in sys.modules}))"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"torch", "geopandas", "numba", "rasterio", "skimage", "pandas"} & set(loaded)


def test_the_help_loads_nothing_heavy():
    code = (
        "import sys; from crackgeo.cli import run; run(['--help']);"
        "print(*sorted({m.split('.')[0] for m in sys.modules}), file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "map" in result.stdout
    heavy = {"torch", "geopandas", "numba", "rasterio", "skimage", "pandas", "cv2", "matplotlib"}
    assert not heavy & set(result.stderr.split())


def test_torch_is_imported_below_models_only():
    for path in PACKAGE.rglob("*.py"):
        if "models" in path.parts or path.name == "doctor.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            assert not any(n.split(".")[0] == "torch" for n in names), path
