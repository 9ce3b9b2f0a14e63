"""Words for devices and precisions become what torch computes with, or an error that says what exists."""

import pytest
import torch

from sktl.inference import resolve_placement


def test_auto_takes_the_accelerator_where_there_is_one():
    placement = resolve_placement()
    expected = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert placement.device.type == expected
    if expected == "cpu":
        assert placement.dtype is torch.float32


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_precision_is_what_matrix_products_run_in(precision):
    placement = resolve_placement("cpu", precision)
    with placement.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is getattr(torch, precision)


@pytest.mark.parametrize("device", ["gpu", "cuda:7", "", 3.5])
def test_a_device_that_does_not_exist_is_named(device):
    with pytest.raises(ValueError, match="device must"):
        resolve_placement(device)
