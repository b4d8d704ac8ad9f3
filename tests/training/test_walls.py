import numpy as np
import pytest
from crackgeo_training.drawing.walls import MASONRY_WIDTH_PX, WIDTH_PX, draw_wall

SIZE = 160


@pytest.fixture(scope="module")
def walls():
    return [draw_wall(seed, SIZE) for seed in range(16)]


def test_the_same_seed_draws_the_same_wall(walls):
    again = draw_wall(3, SIZE)
    assert np.array_equal(again.rgb, walls[3].rgb)
    assert np.array_equal(again.cover, walls[3].cover)
    assert not np.array_equal(walls[3].rgb, walls[4].rgb)


def test_sound_walls_have_no_crack_and_the_others_have_some(walls):
    sound = [w for w in walls if not w.cracks]
    assert 1 <= len(sound) < len(walls) / 2
    assert all(w.cover.max() == 0 for w in sound)
    assert sum(w.cover.max() > 0.5 for w in walls) > len(walls) / 3


def test_mean_widths_keep_to_their_range(walls):
    main = [c.width_px for w in walls for c in w.cracks if c.kind != "branch"]
    assert min(main) >= WIDTH_PX[0] - 1e-6
    assert max(main) <= MASONRY_WIDTH_PX[1] + 1e-6
    concrete = [c.width_px for w in walls for c in w.cracks if c.kind == "wall"]
    assert max(concrete) <= WIDTH_PX[1] + 1e-6


def test_cracks_are_darker_than_the_wall_beside_them(walls):
    contrast = [
        w.rgb[w.cover == 0].mean() - w.rgb[w.cover > 0.9].mean()
        for w in walls
        if (w.cover > 0.9).sum() > 20
    ]
    assert len(contrast) > 3
    assert np.median(contrast) > 25
