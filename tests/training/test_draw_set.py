import cv2
import numpy as np
from crackgeo_training import draw_set
from crackgeo_training.data import read_manifest, read_pair
from crackgeo_training.pavement import Pavement


def pavement(seed, shape):
    """A grey road with one crack in its upper left cell and no data in its lower right one."""
    rgb, alpha = np.full((*shape, 3), 120, np.uint8), np.full(shape, 255, np.uint8)
    cover = np.zeros(shape, np.float32)
    cover[100:104, 50:500], cover[104, 50:500] = 1.0, 0.3
    alpha[-400:, -400:] = 0
    return Pavement(rgb, alpha, (), cover, ())


def test_a_drawn_set_can_be_read_as_training_data(tmp_path, monkeypatch):
    monkeypatch.setattr(draw_set, "draw_pavement", pavement)
    draw_set.main(["-o", str(tmp_path), "--count", "2"], standalone_mode=False)
    records = read_manifest(tmp_path / "manifest.csv", "train")
    assert len(records) == 2 * 11  # the empty cell of each is left out
    assert {r.set for r in records} == {"drawn_pavement"}
    image, mask = read_pair(records[0])
    assert image.shape == (600, 600, 3)
    assert mask.sum() == 4 * 450  # only where most of the pixel is crack
    assert not read_pair(records[1])[1].any()
    assert cv2.imread(str(records[0].image)).mean() == 120
