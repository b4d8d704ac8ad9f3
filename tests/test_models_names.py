"""Names that disks do not take, and files that may not be read: told, not reported as a bug."""

import pytest

from crackgeo.errors import ResourceError
from crackgeo.files import AtomicOutput, atomic_output, check_output, remove_leftovers


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("letter", ["n", "ü"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_output_may_have_the_longest_name_that_the_disk_takes(tmp_path, letter, overwrite):
    longest = tmp_path / (letter * (243 // len(letter.encode())) + ".safetensors")
    with atomic_output(longest, overwrite) as part:
        part.write_text("done")
        part.with_name(f"{part.name}-journal").touch()  # as libraries put beside it
    assert names(tmp_path) == [longest.name]


def test_a_longer_name_is_told(tmp_path):
    with pytest.raises(ResourceError, match="the name is too long") as caught:
        check_output(tmp_path / ("n" * 244 + ".safetensors"))
    assert caught.value.remedy == "choose a shorter one"


def test_what_was_left_of_a_long_name_is_that_names_alone(tmp_path):
    one, other = (tmp_path / f"{'n' * 240}{end}.gpkg" for end in "12")
    begun = AtomicOutput(one).path, AtomicOutput(other).path
    for path in begun:
        path.touch()
    remove_leftovers(one)
    assert names(tmp_path) == [begun[1].name]
