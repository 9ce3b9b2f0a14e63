"""Words for devices and precisions become what torch computes with, or an error that says what exists."""

import warnings

import pytest
import torch

from sktl import PretrainedFeatureExtractor
from sktl.datasets import make_fractals
from sktl.inference import _device, resolve_placement


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


@pytest.fixture
def cpu_with(monkeypatch):
    """Give this CPU some instructions, or a torch that cannot tell."""
    monkeypatch.setitem(_device._said, "hint", False)

    def give(*names):
        if names == (None,):
            monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
        else:
            monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(names, True), raising=False)

    return give


@pytest.mark.parametrize("name", ["avx512_bf16", "amx_bf16"])
def test_a_cpu_that_is_faster_in_bfloat16_is_mentioned_once_and_stays_at_float32(name, cpu_with, capsys):
    cpu_with("avx2", name)
    for _ in range(2):
        assert resolve_placement("cpu", verbose=1).dtype is torch.float32
    said = capsys.readouterr()
    assert said.err.count("precision='bfloat16'") == 1
    assert said.err.count("\n") == 1
    assert said.out == ""


@pytest.mark.parametrize(
    ("names", "precision", "verbose"),
    [
        (("avx512_bf16",), "auto", 0),
        (("avx512_bf16",), "float32", 1),
        (("avx512_bf16",), "bfloat16", 1),
        (("avx2",), "auto", 1),
        (("bf16",), "auto", 1),  # of ARM: not measured
        ((None,), "auto", 1),
    ],
)
def test_nothing_is_said_where_nobody_asked_or_nothing_is_to_be_gained(names, precision, verbose, cpu_with, capsys):
    cpu_with(*names)
    resolve_placement("cpu", precision, verbose)
    assert capsys.readouterr().err == ""


def test_a_verbose_extractor_mentions_it(cpu_with, capsys):
    cpu_with("avx512_bf16")
    X, _ = make_fractals(4, n_classes=2, random_state=0)
    PretrainedFeatureExtractor(device="cpu", verbose=1).fit(X).transform(X)
    assert "precision='bfloat16'" in capsys.readouterr().err


@pytest.mark.parametrize(("names", "is_slow"), [(("avx2",), True), (("bf16",), False), ((None,), False)])
def test_bfloat16_on_a_cpu_without_instructions_for_it_works_with_a_warning(names, is_slow, cpu_with):
    cpu_with(*names)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert resolve_placement("cpu", "bfloat16").dtype is torch.bfloat16
    assert ["slower" in str(one.message) for one in caught] == [True] * is_slow
