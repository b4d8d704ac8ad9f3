import cv2
import numpy as np
from crackgeo_training import draw_set
from crackgeo_training.data import read_manifest, read_pair
from crackgeo_training.pavement import Pavement
from crackgeo_training.walls import Wall


def pavement(seed, shape):
    """A grey road with one crack in its upper left cell and no data in its lower right one."""
    rgb, alpha = np.full((*shape, 3), 120, np.uint8), np.full(shape, 255, np.uint8)
    cover = np.zeros(shape, np.float32)
    cover[100:104, 50:500], cover[104, 50:500] = 1.0, 0.3
    alpha[-400:, -400:] = 0
    return Pavement(rgb, alpha, (), cover, ())


def wall(seed, size_px):
    """A white wall whose upper row is a crack."""
    cover = np.zeros((size_px, size_px), np.float32)
    cover[0] = 1
    return Wall(np.full((size_px, size_px, 3), 250, np.uint8), cover, ())


def draw(monkeypatch, folder, pavements, walls):
    monkeypatch.setattr(draw_set, "draw_pavement", pavement)
    monkeypatch.setattr(draw_set, "draw_wall", wall)
    numbers = ["--pavements", str(pavements), "--walls", str(walls)]
    draw_set.main(["-o", str(folder), *numbers], standalone_mode=False)
    return read_manifest(folder / "manifest.csv", "train")


def test_drawn_pavements_can_be_read_as_training_data(tmp_path, monkeypatch):
    records = draw(monkeypatch, tmp_path, 2, 0)
    assert len(records) == 2 * 11  # the empty cell of each is left out
    assert {r.set for r in records} == {"drawn_pavement"}
    image, mask = read_pair(records[0])
    assert image.shape == (600, 600, 3)
    assert mask.sum() == 4 * 450  # only where most of the pixel is crack
    assert not read_pair(records[1])[1].any()
    assert cv2.imread(str(records[0].image)).mean() == 120


def test_drawn_walls_are_a_set_of_their_own(tmp_path, monkeypatch):
    records = draw(monkeypatch, tmp_path, 0, 3)
    assert [r.set for r in records] == ["drawn_wall"] * 3
    image, mask = read_pair(records[2])
    assert image.min() == 250
    assert mask.sum() == 600
