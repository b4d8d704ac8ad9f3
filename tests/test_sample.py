from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pyogrio
import pytest
import rasterio
from crackgeo_training.drawing import pavement as pavement_module
from crackgeo_training.drawing.crack_shapes import (
    Crack,
    alligator,
    branch,
    draw_cracks,
    open_crack,
    resample,
    wander,
)
from crackgeo_training.drawing.pavement import Pavement, draw_pavement, visible_pieces
from crackgeo_training.drawing.textures import (
    asphalt,
    concrete,
    layered_noise,
    smooth_noise,
    stones,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rasterio.enums import ColorInterp
from scipy import ndimage
from skimage.draw import polygon2mask

ROOT = Path(__file__).parents[1]
SHAPE = (300, 400)


def straight(angle: float, width_px: float, length_px: float = 60.0) -> Crack:
    along = np.array([np.cos(angle), np.sin(angle)])
    ends = np.array([60.3, 59.8]) + np.outer([-0.5, 0.5], along) * length_px
    points = resample(ends, 0.5)
    half = np.full(len(points), width_px / 2)
    return Crack("straight", points, half, half)


@pytest.fixture(scope="module")
def pavement() -> Pavement:
    return draw_pavement(5, SHAPE)


def test_no_crack_shows_through_the_patch_that_was_laid_over_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shape = (600, 800)
    cracked = draw_pavement(3, shape)  # a branch of this one runs under the patch
    monkeypatch.setattr(pavement_module, "_grow_cracks", lambda scene: None)
    sound = draw_pavement(3, shape)
    outline = dict(cracked.distractors)["patch_edge"]
    inside = ndimage.binary_erosion(polygon2mask(shape, outline[:, ::-1]), iterations=4)
    assert inside.sum() > 10_000
    assert np.array_equal(cracked.rgb[inside], sound.rgb[inside])


@given(st.floats(0, np.pi), st.floats(0.3, 14))
@example(np.pi / 4, 1.0)
@settings(max_examples=50, deadline=None)
def test_area_of_a_drawn_crack_is_length_times_width(angle: float, width_px: float) -> None:
    crack = straight(angle, width_px)
    drawn = draw_cracks([crack], (120, 120))
    assert drawn.cover.sum() / crack.length_px == pytest.approx(width_px, abs=0.05)


def test_cross_section_by_hand() -> None:
    crack = Crack("x", np.array([[0.0, 3.0], [9.0, 3.0]]), np.full(2, 1.0), np.full(2, 0.75))
    crack = Crack(crack.kind, resample(crack.points, 0.5), np.full(19, 1.0), np.full(19, 0.75))
    drawn = draw_cracks([crack], (6, 9))
    # Left of a way to the right, with rows counted downwards, is below.
    assert drawn.cover[:, 4].tolist() == pytest.approx([0, 0, 0.75, 1, 0, 0], abs=1e-4)
    assert drawn.width_px[3, 4] == 1.75


@pytest.mark.parametrize("width_px", [1.5, 3.0, 12.0])
def test_a_wandering_crack_keeps_its_width(width_px: float) -> None:
    rng = np.random.default_rng(3)
    path = wander(rng, np.array([[30.0, 60.0], [300.0, 90.0], [570.0, 40.0]]), 1.0)
    crack = open_crack(rng, "main", path, width_px)
    assert crack.width_px == pytest.approx(width_px)
    widths = crack.left_px + crack.right_px
    assert widths.std() > 0.15 * width_px  # it varies
    area = draw_cracks([crack], (150, 600)).cover.sum()
    assert area / crack.length_px == pytest.approx(width_px, abs=0.06 * width_px)


def test_a_path_keeps_its_ends_and_its_step() -> None:
    ends = np.array([[10.0, 20.0], [250.0, 40.0]])
    path = wander(np.random.default_rng(1), ends, 1.0)
    assert np.allclose(path[[0, -1]], ends)
    steps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    assert steps.max() < 0.6
    assert steps.sum() > 1.01 * np.linalg.norm(ends[1] - ends[0])


def test_branches_start_on_their_parent_and_taper() -> None:
    rng = np.random.default_rng(2)
    parent = open_crack(rng, "m", wander(rng, np.array([[5.0, 50.0], [195.0, 60.0]]), 1.0), 6.0)
    side = branch(rng, parent, 3.0, 60.0, 1.0)
    assert np.linalg.norm(parent.points - side.points[0], axis=1).min() < 1e-9
    widths = side.left_px + side.right_px
    assert widths[-5:].mean() < 0.5 * widths.mean()


def test_an_alligator_is_widest_in_the_middle() -> None:
    cracks = alligator(np.random.default_rng(4), np.array([300.0, 300.0]), (200, 200), 50.0)
    away = np.array([np.linalg.norm(c.points.mean(axis=0) - 300) for c in cracks])
    widths = np.array([c.width_px for c in cracks])
    assert len(cracks) > 30
    assert widths[away < 80].mean() > 1.4 * widths[away > 140].mean()


def test_cracks_are_cut_where_they_are_covered() -> None:
    crack = straight(0.0, 3.0, length_px=100.0)
    seen = np.ones((120, 90), np.bool_)
    seen[:, 40:60] = False
    first, second = visible_pieces(crack, seen)
    assert first.points[:, 0].max() < 40
    assert second.points[:, 0].min() >= 60
    assert second.points[:, 0].max() < 90
    assert first.width_px == pytest.approx(3.0)


@pytest.mark.parametrize("sigma_px", [0.8, 6.0, 40.0])
def test_noise_has_its_scale(sigma_px: float) -> None:
    noise = smooth_noise(np.random.default_rng(1), (1200, 1500), sigma_px)
    assert noise.shape == (1200, 1500)
    assert abs(float(noise.mean())) < 1e-3
    assert float(noise.std()) == pytest.approx(1, abs=1e-3)
    lag = round(2 * sigma_px)  # the correlation of Gaussian noise at 2 sigma is 1/e
    correlation = float((noise[:, lag:] * noise[:, :-lag]).mean())
    assert correlation == pytest.approx(np.exp(-((lag / sigma_px / 2) ** 2)), abs=0.12)


def test_stones_fall_off_to_their_rims() -> None:
    brightness, height = stones(np.random.default_rng(1), (60, 60), 6.0)
    assert 60 < len(np.unique(brightness)) <= 100
    assert height.min() >= 0
    assert height.max() == 1


def test_surfaces_are_pavement_grey() -> None:
    rng = np.random.default_rng(1)
    rows = np.indices(SHAPE, dtype=np.float32)[0]
    dark, light = asphalt(rng, SHAPE), concrete(rng, SHAPE, rows)
    assert 0.1 < dark.colour.mean() < 0.4 < light.colour.mean() < 0.7
    for surface in (dark, light):
        grey = surface.colour.mean(axis=(0, 1))
        assert np.ptp(grey) < 0.12 * grey.mean()  # hardly any colour
        assert surface.colour.std() > 0.05 * grey.mean()  # but texture


def test_same_seed_same_pixels(pavement: Pavement) -> None:
    again, other = draw_pavement(5, SHAPE), draw_pavement(6, SHAPE)
    assert np.array_equal(pavement.rgb, again.rgb)
    assert np.array_equal(pavement.alpha, again.alpha)
    assert all(
        np.array_equal(a.points, b.points)
        for a, b in zip(pavement.cracks, again.cracks, strict=True)
    )
    assert not np.array_equal(pavement.rgb, other.rgb)


def test_the_border_is_ragged_and_empty(pavement: Pavement) -> None:
    assert set(np.unique(pavement.alpha)) == {0, 255}
    assert not pavement.rgb[pavement.alpha == 0].any()
    assert pavement.alpha[[0, -1]].max() == 0
    assert 0.7 < (pavement.alpha > 0).mean() < 0.98
    assert ndimage.label(pavement.alpha)[1] == 1
    starts = (pavement.alpha > 0).argmax(axis=0)
    assert np.ptp(starts[30:-30]) > 3


def test_cracks_lie_where_the_picture_is_dark(pavement: Pavement) -> None:
    grey = pavement.rgb.mean(axis=-1)
    crack = pavement.cover > 0.9
    around = (ndimage.binary_dilation(crack, iterations=10)) & (pavement.cover == 0)
    around &= pavement.alpha > 0
    assert crack.sum() > 100
    assert np.median(grey[crack]) < 0.75 * np.median(grey[around])
    for piece in pavement.cracks:
        cols, rows = np.floor(piece.points).astype(int).T
        assert pavement.alpha[rows, cols].all()


def test_what_is_drawn(pavement: Pavement) -> None:
    kinds = {kind for kind, _ in pavement.distractors}
    assert {"joint", "sealed_crack", "paint", "patch_edge", "manhole", "shadow_edge"} <= kinds
    assert {"transverse", "longitudinal", "hairline", "alligator"} <= {
        c.kind for c in pavement.cracks
    }


def test_layered_noise_weighs_scales() -> None:
    fine = layered_noise(np.random.default_rng(1), (200, 200), (1.0, 30.0), 0.1)
    coarse = layered_noise(np.random.default_rng(1), (200, 200), (1.0, 30.0), 10.0)
    assert np.diff(fine, axis=1).std() > 5 * np.diff(coarse, axis=1).std()


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "make_sample", ROOT / "sample_data/make_sample.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_files(
    script: ModuleType,
    pavement: Pavement,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    script.main(["--out", str(tmp_path / "new"), "--seed", "5", "--size", "400", "300"])
    assert "cracks" in capsys.readouterr().out
    with rasterio.open(tmp_path / "new" / "survey.tif") as raster:
        assert raster.crs.to_epsg() == 32632
        assert raster.res == (0.002, 0.002)
        assert raster.colorinterp[3] == ColorInterp.alpha
        assert np.array_equal(np.moveaxis(raster.read([1, 2, 3]), 0, -1), pavement.rgb)
        bounds = raster.bounds
    cracks = pyogrio.read_dataframe(tmp_path / "new" / "truth.gpkg", layer="cracks")
    assert np.allclose(cracks.geometry.length, cracks.length_m, rtol=0.03)
    assert cracks.width_mm.between(1.0, 40).all()
    left, bottom, right, top = cracks.total_bounds
    assert left >= bounds.left
    assert right <= bounds.right
    assert bottom >= bounds.bottom
    assert top <= bounds.top
    others = pyogrio.read_dataframe(tmp_path / "new" / "truth.gpkg", layer="distractors")
    assert "joint" in set(others.kind)


def test_truth_lies_on_the_cracks_of_the_picture(
    script: ModuleType, pavement: Pavement, tmp_path: Path
) -> None:
    """From ground to pixel and back: a dark line under every true centre-line."""
    script.write_survey(tmp_path / "s.tif", pavement)
    script.write_truth(tmp_path / "t.gpkg", pavement)
    cracks = pyogrio.read_dataframe(tmp_path / "t.gpkg", layer="cracks")
    with rasterio.open(tmp_path / "s.tif") as raster:
        for line, width_mm in zip(cracks.geometry, cracks.width_mm, strict=True):
            place = line.interpolate(0.5, normalized=True)
            row, col = raster.index(place.x, place.y)
            near = pavement.cover[max(0, row - 1) : row + 2, max(0, col - 1) : col + 2]
            assert near.max() > min(0.3, 0.1 * width_mm)


def test_too_small_is_refused(script: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as stop:
        script.main(["--out", str(tmp_path), "--size", "60", "60"])
    assert stop.value.code == 2
    assert list(tmp_path.iterdir()) == []


def test_drawing_needs_no_extra_packages() -> None:
    code = (
        "import sys, crackgeo_training.drawing.pavement; print({'cv2', 'torch'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
