"""A cache of compiled functions that fails costs time, not the run."""

import errno
import os
import subprocess
import sys

import pytest

from crackgeo import jit

FUNCTION = """
from crackgeo.jit import compiled
@compiled
def twice(x):
    return 2 * x
"""
CALL = "import twice; print(twice.twice(21), sum(twice.twice.stats.cache_hits.values()))"


@pytest.fixture
def call(tmp_path):
    """Call a compiled function in a process of its own; gives its value and the cache's hits."""
    (tmp_path / "twice.py").write_text(FUNCTION)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def run():
        done = subprocess.run(
            [sys.executable, "-c", CALL], cwd=tmp_path, env=environment, capture_output=True,
            text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    return run


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize("content", [b"", b"\x80\x05no pickle"])
def test_a_damaged_cache_is_made_anew(tmp_path, call, suffix, content):
    assert call() == ["42", "0"]
    (file,) = (tmp_path / "cache").rglob(f"*.{suffix}")
    file.write_bytes(content)
    assert call() == ["42", "0"]
    assert call() == ["42", "1"]


def test_a_cache_without_room_is_done_without():
    class Full:
        def load_overload(self, *_):
            raise OSError(errno.ENOSPC, "No space left on device")

        save_overload = load_overload

    @jit.compiled
    def thrice(x):
        return 3 * x

    thrice._cache._cache = Full()
    assert thrice(14) == 42
