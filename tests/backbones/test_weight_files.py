import pickle
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sktl.backbones._weight_files import existing_file, load_tensors, read_tensors
from sktl.exceptions import WeightsError, WeightsMismatchError, WeightsNotFoundError


def network():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


@pytest.fixture
def tensors():
    return {key: value.clone() for key, value in network().state_dict().items()}


class Executes:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.write_text, (self.path, "executed")


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_tensors_come_back_as_they_were_saved(tensors, tmp_path, suffix):
    path = tmp_path / f"weights{suffix}"
    save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
    found = read_tensors(path)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[key], tensors[key]) for key in tensors)


def test_files_of_the_former_format_are_read(tensors, tmp_path):
    torch.save(tensors, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert read_tensors(tmp_path / "old.pth").keys() == tensors.keys()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda tensors: {"state_dict": tensors, "epoch": 3},
        lambda tensors: {"model": tensors, "optimizer": {"lr": 0.1}},
        lambda tensors: {"model_state_dict": tensors},
        lambda tensors: {f"module.{key}": value for key, value in tensors.items()},
        lambda tensors: {"state_dict": {f"module._orig_mod.{key}": value for key, value in tensors.items()}},
    ],
)
def test_checkpoints_are_unwrapped(tensors, tmp_path, wrap):
    torch.save(wrap(tensors), tmp_path / "checkpoint.pth")
    assert read_tensors(tmp_path / "checkpoint.pth").keys() == tensors.keys()


def test_a_pickle_with_code_is_refused_and_not_executed(tmp_path):
    trace = tmp_path / "trace"
    torch.save({"state_dict": {"weight": Executes(trace)}}, tmp_path / "evil.pth")
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Executes(trace)))
    for name in ("evil.pth", "evil.pt"):
        with pytest.raises(WeightsError, match=f"{name}' must hold tensors only.* would run code"):
            read_tensors(tmp_path / name)
    assert not trace.exists()


def test_a_pickled_module_is_refused(tmp_path):
    torch.save(network(), tmp_path / "module.pth")
    with pytest.raises(WeightsError, match="must hold tensors only"):
        read_tensors(tmp_path / "module.pth")


@pytest.mark.parametrize("name", ["file.pth", "file.pt", "file.safetensors", "old.pth"])
@pytest.mark.parametrize("kept", [0, 1, 7, 100, 0.5, 0.99])
def test_truncated_files_are_errors_that_name_the_file(tensors, tmp_path, name, kept):
    path = tmp_path / name
    if name.endswith("safetensors"):
        save_file(tensors, path)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=name != "old.pth")
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    with pytest.raises(WeightsError, match=name) as caught:
        read_tensors(path)
    assert ("empty file" in str(caught.value)) == (kept == 0)


@pytest.mark.parametrize("content", [b"<html>404</html>", b"\x00" * 4096, b"\xff\xd8\xff\xe0 a photo", b"{}"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_of_another_kind_are_errors_that_name_the_file(tmp_path, content, suffix):
    path = tmp_path / f"stranger{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="stranger"):
        read_tensors(path)


@pytest.mark.parametrize("content", [[1, 2], torch.zeros(2), {}, {"epoch": 3}, {1: torch.zeros(1)}, {"a": {"b": 1}}])
def test_files_without_named_tensors_are_errors(tmp_path, content):
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"other.pth' must hold .*state_dict"):
        read_tensors(tmp_path / "other.pth")


def test_a_missing_file_is_named_with_its_neighbour(tmp_path):
    (tmp_path / "resnet18.pth").write_bytes(b"")
    with pytest.raises(WeightsNotFoundError, match=r"resnet81.pth' instead. Did you mean '.*resnet18.pth'"):
        existing_file(tmp_path / "resnet81.pth")
    with pytest.raises(WeightsNotFoundError, match="Found nothing at"):
        existing_file(tmp_path / "nowhere" / "a.pth")
    with pytest.raises(WeightsError, match=r"must be a file\. Got the folder"):
        existing_file(tmp_path)
    assert existing_file(str(tmp_path / "resnet18.pth")) == (tmp_path / "resnet18.pth").resolve()


def test_half_precision_becomes_float32(tensors):
    halves = {key: value.half() if value.is_floating_point() else value for key, value in tensors.items()}
    target = network()
    report = load_tensors(target, halves, name="net", origin="file")
    assert report.is_complete
    assert report.loaded == len(tensors)
    assert target[0].weight.dtype == torch.float32
    torch.testing.assert_close(target[0].weight, tensors["0.weight"], rtol=1e-3, atol=1e-3)


def test_old_files_without_counters_of_batch_norm_fit(tensors):
    del tensors["1.num_batches_tracked"]
    assert load_tensors(network(), tensors, name="net", origin="file").is_complete


def test_a_mismatch_lists_names_and_shapes(tensors):
    tensors["3.weight"] = torch.zeros(5, 4)
    tensors["extra"] = tensors.pop("0.bias")
    with pytest.raises(WeightsMismatchError) as caught:
        load_tensors(network(), tensors, name="net", origin="the/file.pth")
    message = str(caught.value)
    assert "'the/file.pth' must fit net" in message
    assert "1 missing from the file ('0.bias')" in message
    assert "1 unknown to the network ('extra')" in message
    assert "3.weight: (5, 4) in the file, (2, 4) in the network" in message
    assert "match='partial'" in message


def test_long_lists_of_names_are_shortened():
    with pytest.raises(WeightsMismatchError, match=r"50 unknown to the network \('n0', 'n1', 'n2', …\)"):
        load_tensors(network(), {f"n{i}": torch.zeros(1) for i in range(50)}, name="net", origin="file")


def test_partial_takes_what_fits_and_reports_the_rest(tensors):
    tensors["3.weight"] = torch.zeros(5, 4)
    tensors["extra"] = tensors.pop("0.bias")
    target = network()
    untouched = target[3].weight.clone()
    with pytest.warns(UserWarning, match="fit net in part only: 7 tensors fit, 1 missing"):
        report = load_tensors(target, tensors, name="net", origin="file", match="partial")
    assert report.missing == ("0.bias",)
    assert report.unexpected == ("extra",)
    assert report.mismatched == ("3.weight: (5, 4) in the file, (2, 4) in the network",)
    assert torch.equal(target[0].weight, tensors["0.weight"])
    assert torch.equal(target[3].weight, untouched)


def test_partial_without_any_fit_is_an_error():
    with pytest.raises(WeightsMismatchError, match="0 tensors fit"):
        load_tensors(network(), {"other": torch.zeros(1)}, name="net", origin="file", match="partial")


def test_partial_with_a_full_fit_does_not_warn(tensors):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_tensors(network(), tensors, name="net", origin="file", match="partial")


def test_auxiliary_heads_of_the_file_are_ignored(tensors):
    tensors["aux1.conv.weight"] = torch.zeros(1)
    assert load_tensors(network(), tensors, name="net", origin="file", ignored=("aux1",)).is_complete
