"""Imports run one way, and the package starts without its heavy parts."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "crackgeo"

# from the bottom up: a module may import those of its own line and of the lines before it
LAYERS = [
    {"version", "errors", "jsontext"},
    {"monitor", "specs", "grid", "results"},
    {"ground", "tiling", "fill", "vectors", "schema", "files", "work"},
    {"collar", "dataset", "gaps", "georeference", "resample", "source", "stretch", "scaling"},
    {"raster", "probability", "aoi", "bands", "inputs", "mosaic", "space"},
    {"models"},
    {"stitch", "seams", "predict", "provenance"},
    {
        "jit",
        "blocks",
        "thinning",
        "chains",
        "profiles",
        "skeleton",
        "pixelgraph",
        "measure",
        "network",
        "attributes",
    },
    {"outlines", "polygons"},
    {"vectorize"},
    {"coverage", "symbology", "layers", "quicklook"},
    {"describe"},
    {"predict_options", "predict_job", "cluster", "predict_run"},
    {"sources", "report"},
    {"vector_run"},
    {"pipeline", "survey", "doctor"},
    {"cli"},
    {"__main__"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}


def top_level_modules():
    paths = [p for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()]
    return sorted(p.stem for p in paths if p.stem != "__init__")


def imported_names(path):
    """Names of crackgeo's own top-level modules that a file imports, anywhere in it."""
    depth = len(path.relative_to(PACKAGE).parts) - 1
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.ImportFrom):
            continue
        if node.module and node.module.startswith("crackgeo."):
            yield node.module.split(".")[1]
        elif node.level == depth + 1:
            yield from [node.module.split(".")[0]] if node.module else [a.name for a in node.names]


def files_of(module):
    path = PACKAGE / module
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


@pytest.mark.parametrize("module", top_level_modules())
def test_imports_run_one_way(module):
    assert module in RANK, f"say in tests/test_layering.py where {module} belongs"
    for path in files_of(module):
        for name in imported_names(path):
            assert RANK[name] <= RANK[module], f"{path.name} imports {name}, which lies above it"


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
