import pickle
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sktl.checkpoints.weight_files import existing_file, load_tensors, read_tensors
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
    assert read_tensors(tmp_path / "checkpoint.pth", tensors).keys() == tensors.keys()


def test_a_pickle_with_code_is_refused_and_not_executed(tmp_path):
    trace = tmp_path / "trace"
    torch.save({"state_dict": {"weight": Executes(trace)}}, tmp_path / "evil.pth")
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Executes(trace), protocol=2))
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


STRANGERS = [b"\x89PNG\r\n\x1a\n" + bytes(range(256)), b"code, name\n1, cat\n", bytes(range(255, -1, -1))]


@pytest.mark.parametrize(
    "content", [b"<html>404</html>", b"\x00" * 4096, b"\xff\xd8\xff\xe0 a photo", b"{}", *STRANGERS]
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_of_another_kind_are_errors_that_name_the_file(tmp_path, content, suffix):
    path = tmp_path / f"stranger{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"stranger.*truncated or of another kind") as caught:
        read_tensors(path)
    for advice in ("weights_only=False", "Where you trust it"):
        assert advice not in str(caught.value)


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


@pytest.mark.parametrize("depth", [1, 3])
def test_a_checkpoint_in_a_checkpoint_is_unwrapped(tensors, tmp_path, depth):
    content = tensors
    for _ in range(depth):
        content = {"model": content}
    torch.save(content, tmp_path / "nested.pth")
    assert read_tensors(tmp_path / "nested.pth").keys() == tensors.keys()


@pytest.mark.parametrize("wrapper", ["model", "state_dict"])
def test_a_dictionary_that_holds_itself_is_an_error_and_no_endless_loop(tmp_path, wrapper):
    content = {}
    content[wrapper] = content
    torch.save(content, tmp_path / "ouroboros.pth")
    with pytest.raises(WeightsError, match=r"ouroboros.*must hold a dictionary of named tensors"):
        read_tensors(tmp_path / "ouroboros.pth")


def test_a_shape_that_the_stored_numbers_do_not_fill_is_refused(tmp_path):
    path = tmp_path / "bomb.pth"
    torch.save({"fc.weight": torch.zeros(1, 1).expand(300_000, 512)}, path)
    assert path.stat().st_size < 10_000
    with pytest.raises(WeightsError, match=r"shape \(300000, 512\) for 1 stored numbers at 'fc.weight'"):
        read_tensors(path)


def test_views_of_whole_tensors_are_taken(tmp_path):
    whole = torch.arange(96.0).reshape(4, 2, 3, 4)
    views = {"a": whole[1:, :, ::2], "b": whole.to(memory_format=torch.channels_last), "c": torch.zeros(0, 3)}
    torch.save({**views, "d": whole.mT, "e": nn.Parameter(whole)}, tmp_path / "views.pth")
    assert read_tensors(tmp_path / "views.pth").keys() == set("abcde")


@pytest.mark.filterwarnings("ignore")  # of torch, about the state of its sparse and quantized tensors
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.eye(3).to_sparse(), "layout torch.sparse_coo"),
        (lambda: torch.eye(3).to_sparse_csr(), "layout torch.sparse_csr"),
        (lambda: torch.zeros(3, device="meta"), "without numbers, of device 'meta'"),
        (lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), "quantized"),
    ],
)
def test_tensors_of_other_kinds_are_named(tmp_path, make, message):
    torch.save({"fc.weight": make()}, tmp_path / "odd.pth")
    with pytest.raises(WeightsError, match=rf"odd.pth' must hold plain tensors.*{message}.* at 'fc.weight'"):
        read_tensors(tmp_path / "odd.pth")


@pytest.mark.parametrize("prefix", ["model.", "module.", "_orig_mod."])
def test_a_prefix_that_the_network_has_itself_stays(tensors, tmp_path, prefix):
    named = {prefix + key: value for key, value in tensors.items()}
    torch.save(named, tmp_path / "weights.pth")
    assert read_tensors(tmp_path / "weights.pth", named).keys() == named.keys()
    assert read_tensors(tmp_path / "weights.pth", tensors).keys() == tensors.keys()


def test_the_prefix_of_a_wrapper_around_such_a_network_is_taken_off(tensors, tmp_path):
    named = {f"model.{key}": value for key, value in tensors.items()}
    torch.save({f"module.{key}": value for key, value in named.items()}, tmp_path / "weights.pth")
    assert read_tensors(tmp_path / "weights.pth", named).keys() == named.keys()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_precision_goes_into_float32(tensors, dtype):
    given = {key: value.to(dtype) if value.is_floating_point() else value for key, value in tensors.items()}
    target = network()
    assert load_tensors(target, given, name="net", origin="file").is_complete
    assert target[3].weight.dtype == torch.float32
    assert target[1].num_batches_tracked.dtype == torch.int64


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.complex64])
def test_integers_and_complex_numbers_do_not_become_weights(tensors, dtype):
    tensors["3.weight"] = torch.ones(2, 4).to(dtype)
    message = rf"of another shape or kind \('3.weight: {dtype} in the file, torch.float32 in the network'\)"
    with pytest.raises(WeightsMismatchError, match=message):
        load_tensors(network(), tensors, name="net", origin="file")
    target = network()
    untouched = target[3].weight.clone()
    with pytest.warns(UserWarning, match="of another shape or kind"):
        load_tensors(target, tensors, name="net", origin="file", match="partial")
    assert torch.equal(target[3].weight, untouched)


@pytest.mark.parametrize(("given", "kept"), [(312.4, 312), (7.0, 7), (float("inf"), 0), (float("nan"), 0)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_counter_as_a_float_becomes_a_whole_number(tensors, given, kept, dtype):
    tensors["1.num_batches_tracked"] = torch.tensor(given, dtype=dtype)
    target = network()
    assert load_tensors(target, tensors, name="net", origin="file").is_complete
    assert target[1].num_batches_tracked.dtype == torch.int64
    rounding = 1 if dtype == torch.bfloat16 else 0
    assert abs(int(target[1].num_batches_tracked) - kept) <= rounding
