"""Words for devices and precisions become what torch computes with, or an error that says what exists."""

import threading

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


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_no_thread_is_given_weights_that_another_one_has_yet_to_cast(precision):
    """Autocast has one cache for all threads: what is cast on one CUDA stream may not be there yet for another."""
    weights, seen = torch.nn.Parameter(torch.ones(2, 2)), []
    placement = resolve_placement("cpu", precision)

    def other():
        with placement.autocast():
            seen.append(torch.nn.functional.linear(torch.ones(1, 2), weights))

    with placement.autocast():
        torch.nn.functional.linear(torch.ones(1, 2), weights)
        weights.data.fill_(5.0)
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert seen[0].tolist() == [[10.0, 10.0]]
