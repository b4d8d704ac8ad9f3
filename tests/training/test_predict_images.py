import numpy as np
import pytest
from crackgeo_training.scoring.noise import disturb
from crackgeo_training.scoring.predict_images import predict_images
from fakes import IdentityModel

SHAPES = [(60, 80), (448, 448), (449, 448), (300, 1000), (1, 1), (800, 500)]


@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_the_identity_model_gives_every_picture_back(batch_size):
    rng = np.random.default_rng(3)
    grey = [rng.integers(0, 255, shape).astype(np.uint8) for shape in SHAPES]
    images = [np.repeat(g[..., None], 3, axis=2) for g in grey]
    got = list(predict_images(IdentityModel(batch_size), iter(images)))
    assert [p.shape for p in got] == SHAPES
    for probability, g in zip(got, grey, strict=True):
        assert np.allclose(probability * 254, g, atol=1e-3)


def test_pictures_share_batches():
    model = IdentityModel(8)
    images = [np.zeros((50, 50, 3), np.uint8)] * 10
    assert len(list(predict_images(model, images))) == 10
    assert model.tiles == 10


def test_nothing_in_nothing_out():
    assert list(predict_images(IdentityModel(), [])) == []


def test_noise_1_darkens_by_50_and_noise_2_keeps_the_level():
    flat = np.full((40, 51, 3), (200, 120, 120), np.uint8)
    assert (disturb(flat, "clean") == flat).all()
    assert disturb(flat, "noise1")[20, 20].max() == 150
    assert (disturb(flat, "noise2") == flat).all()
    assert disturb(np.full((8, 8, 3), 30, np.uint8), "noise1").max() == 0


def test_noise_blurs_as_much_as_the_paper_says():
    point = np.zeros((81, 81, 3), np.uint8)
    point[40, 40] = 255
    reach = {v: np.abs(np.nonzero(disturb(point, v))[0] - 40).max() for v in ("noise1", "noise2")}
    assert reach["noise1"] <= 4 < reach["noise2"] <= 14


def test_unknown_noise():
    with pytest.raises(ValueError, match="noise9"):
        disturb(np.zeros((4, 4, 3), np.uint8), "noise9")
