"""What loops of training do at every step."""

import numpy as np
import pytest
import torch
from crackgeo_training.learning.stepping import told_plainly
from torch.utils.data import DataLoader, Dataset

from crackgeo.errors import InputError, ModelError


class Spoilt(Dataset):
    """Numbers, of which the third cannot be read."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        if index == 2:
            raise InputError("c.png: not an image\nat all", "make it anew")
        return np.float32(index)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_a_worker_comes_as_it_was_raised(workers):
    batches = told_plainly(iter(DataLoader(Spoilt(), num_workers=workers)))
    assert [float(next(batches)), float(next(batches))] == [0, 1]
    with pytest.raises(InputError) as caught:
        next(batches)
    assert caught.value.message == "c.png: not an image\nat all"
    assert caught.value.remedy == "make it anew"


def test_other_errors_and_the_end_stay_as_they_are():
    assert list(told_plainly(iter([torch.ones(1)]))) == [torch.ones(1)]

    def spoilt():
        raise ModelError("Caught a cold", "")
        yield

    with pytest.raises(ModelError, match="Caught a cold"):
        next(told_plainly(spoilt()))
