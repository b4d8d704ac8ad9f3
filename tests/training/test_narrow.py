import numpy as np
from crackgeo_training.pictures.narrow import narrow

SIZE = 64
IGNORE = 255


def picture(crack: slice | None, ground: int = 150) -> np.ndarray:
    """Noisy ground with a dark vertical line."""
    rng = np.random.default_rng(4)
    grey = ground + rng.normal(0, 4, (SIZE, SIZE))
    if crack is not None:
        grey[:, crack] = 60
    return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)


def label(columns: slice) -> np.ndarray:
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[:, columns] = 1
    return mask


def test_a_fat_label_beside_the_crack_shrinks_to_it():
    out = narrow(picture(slice(28, 31)), label(slice(26, 36)), IGNORE)
    assert (out[:, 28:31] == 1).all()
    assert (out[:, 26] == IGNORE).all()
    assert (out[:, 33:36] == IGNORE).all()
    assert (out[:, :26] == 0).all()
    assert (out[:, 36:] == 0).all()


def test_a_label_as_wide_as_the_crack_stays_nearly_whole():
    out = narrow(picture(slice(26, 34)), label(slice(26, 34)), IGNORE)
    assert (out[:, 27:33] == 1).all()


def test_a_label_without_a_clear_crack_is_kept():
    mask = label(slice(26, 36))
    assert (narrow(picture(None), mask, IGNORE) == 1).sum() > 0.5 * mask.sum()


def test_no_label_no_change():
    mask = np.zeros((SIZE, SIZE), np.uint8)
    assert narrow(picture(slice(3, 6)), mask, IGNORE) is mask


def test_a_whole_label_leaves_gaps_along_the_crack_open_and_no_more():
    rgb = picture(slice(28, 31))
    rgb[30:36, 28:31] = 150  # a stone lies in the crack
    out = narrow(rgb, label(slice(24, 36)), IGNORE, whole=True)
    assert (out[:28, 28:31] == 1).all()
    assert (out[32:34, 29] == IGNORE).all()
    inner = out[12:-12]  # at the border of a picture every line may go on
    assert (inner[:, 33:] == 0).all()
    assert (inner[:, :26] == 0).all()
