"""Files of weights in several shards, in other formats, and files that are no files or unpack to far too much."""

import json
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from sktl.backbones import Preprocessing, load_backbone
from sktl.backbones.sources._source import source_of
from sktl.checkpoints.formats import read_content
from sktl.checkpoints.weight_files import existing_file, read_tensors
from sktl.exceptions import WeightsError, WeightsNotFoundError

SMALL = Preprocessing(crop_size=16)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


@pytest.fixture
def sharded(tmp_path):
    """A checkpoint as transformers writes it: two shards and their index."""
    state = network().state_dict()
    names = sorted(state)
    shards = {"model-00001-of-00002.safetensors": names[:2], "model-00002-of-00002.safetensors": names[2:]}
    for shard, some in shards.items():
        save_file({name: state[name] for name in some}, tmp_path / shard)
    index = {"metadata": {"total_size": 1}, "weight_map": {name: shard for shard in shards for name in shards[shard]}}
    path = tmp_path / "model.safetensors.index.json"
    path.write_text(json.dumps(index))
    return path


def test_a_checkpoint_in_several_files_is_read_by_its_index(sharded):
    state = network().state_dict()
    found = read_tensors(existing_file(sharded), state)
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)
    backbone = load_backbone(network(), str(sharded), preprocessing=SMALL)
    assert torch.equal(next(backbone.stages.parameters()), state["0.weight"])


def test_shards_beside_a_link_are_found(sharded, tmp_path):
    (tmp_path / "snapshot").mkdir()
    for file in tmp_path.glob("model*"):
        (tmp_path / "snapshot" / file.name).symlink_to(
            file.rename(tmp_path / f"blob-{len(file.name)}-{file.name[6:11]}")
        )
    path = tmp_path / "snapshot" / sharded.name
    assert read_tensors(existing_file(path), network().state_dict()).keys() == network().state_dict().keys()


def test_a_rewritten_shard_counts_as_other_weights(sharded):
    before = source_of(network()).find_weights(network(), sharded).identity
    name = "model-00001-of-00002.safetensors"
    save_file({key: 2 * each for key, each in read_tensors(sharded.with_name(name)).items()}, sharded.with_name(name))
    assert source_of(network()).find_weights(network(), sharded).identity != before


def test_a_shard_of_a_named_network_counts_for_the_shared_copy(tmp_path):
    state = models.squeezenet1_1(num_classes=2).state_dict()
    torch.save(state, tmp_path / "a.bin")
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": dict.fromkeys(state, "a.bin")}))
    first = load_backbone("squeezenet1_1", tmp_path / "pytorch_model.bin.index.json")
    assert load_backbone("squeezenet1_1", tmp_path / "pytorch_model.bin.index.json") is first
    torch.save({name: 2 * each for name, each in state.items()}, tmp_path / "a.bin")
    assert load_backbone("squeezenet1_1", tmp_path / "pytorch_model.bin.index.json").digest != first.digest


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", "c:\\x", "d\\e"])
def test_shards_elsewhere_are_not_opened(sharded, name):
    save_file(network().state_dict(), sharded.parents[1] / "secret.safetensors")
    sharded.write_text(json.dumps({"weight_map": dict.fromkeys(network().state_dict(), name)}))
    with pytest.raises(WeightsError, match=r"must name files in its own folder.*which is not opened"):
        load_backbone(network(), sharded, preprocessing=SMALL)


def test_a_missing_shard_is_named(sharded):
    sharded.with_name("model-00002-of-00002.safetensors").unlink()
    with pytest.raises(WeightsNotFoundError, match=r"Found no file 'model-00002-of-00002.safetensors' there"):
        load_backbone(network(), sharded, preprocessing=SMALL)


def test_a_shard_without_its_tensor_is_an_error(sharded):
    save_file({"other": torch.zeros(1)}, sharded.with_name("model-00002-of-00002.safetensors"))
    with pytest.raises(WeightsError, match=r"a shard 'model-00002-of-00002.safetensors' without '"):
        load_backbone(network(), sharded, preprocessing=SMALL)


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"weight_map": {}}', '{"weight_map": {"a": 1}}', "[" * 100_000])
def test_an_index_of_another_kind_is_an_error(tmp_path, content):
    (tmp_path / "a.index.json").write_text(content)
    with pytest.raises(WeightsError, match="must be the index of a checkpoint in several files"):
        load_backbone("tiny_fractal", tmp_path / "a.index.json")


def test_safetensors_are_known_by_what_they_are(tmp_path):
    state = network().state_dict()
    save_file(state, tmp_path / "a.bin")
    torch.save(state, tmp_path / "a.safetensors")
    for name in ("a.bin", "a.safetensors"):
        assert read_tensors(tmp_path / name, state).keys() == state.keys()


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def write_torchscript(path):
    torch.jit.save(torch.jit.trace(network().eval(), torch.zeros(1, 3, 8, 8)), path)


def write_exported(path):
    torch.export.save(torch.export.export(network().eval(), (torch.zeros(1, 3, 8, 8),)), path)


def write_zip(*names):
    def write(path):
        with zipfile.ZipFile(path, "w") as archive:
            for name in names:
                archive.writestr(name, b"content")

    return write


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("name", "write", "kind"),
    [
        ("a.pt", write_torchscript, "a TorchScript archive.*torch.jit.load"),
        ("a.pt2", write_exported, "a program of torch.export.*torch.export.load"),
        ("a.pth", write_exported, "a program of torch.export"),
        ("a.keras", write_zip("config.json", "metadata.json", "model.weights.h5"), "a network of Keras"),
        ("a.npz", lambda path: np.savez(path, a=np.zeros(3)), "arrays of numpy"),
        ("a.npy", lambda path: np.save(path, np.zeros(3)), "one array of numpy"),
        ("a.onnx", lambda path: path.write_bytes(b"\x08\x08\x12\x07pytorch"), "a network in ONNX"),
        ("a.h5", lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(90)), "weights of Keras"),
        (
            "a.tflite",
            lambda path: path.write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(90)),
            "a network of TensorFlow Lite",
        ),
        ("a.pb", lambda path: path.write_bytes(b"\x08\x01\x12"), "a network of TensorFlow"),
        ("a.msgpack", lambda path: path.write_bytes(b"\x81\xa6params"), "weights of Flax"),
        ("a.gguf", lambda path: path.write_bytes(b"GGUF\x03\x00"), "quantized weights in GGUF"),
    ],
)
def test_files_of_other_formats_are_refused_by_name(tmp_path, name, write, kind):
    write(tmp_path / name)
    with pytest.raises(WeightsError, match=f"written by torch.save or safetensors. Got {kind}"):
        load_backbone("tiny_fractal", tmp_path / name)


def test_a_file_that_unpacks_to_far_more_than_its_network_is_refused_before(tmp_path):
    plain, path = tmp_path / "plain.pth", tmp_path / "bomb.pth"
    torch.save({"fc.weight": torch.zeros(30_000_000)}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry))
    assert path.stat().st_size < 1_000_000
    message = r"Got 0\.\d MB that unpack to 120\.\d MB instead, for a network of 3\.0 MB"
    with pytest.raises(WeightsError, match=message):
        load_backbone("tiny_fractal", path)
    # The same content as torch.save writes it is as large as it says, and only does not fit.
    with pytest.raises(WeightsError, match="must fit tiny_fractal"):
        load_backbone("tiny_fractal", plain)


def test_shards_may_not_unpack_to_far_more_than_the_network_together(tmp_path):
    places = {}
    for i in range(4):
        plain, shard = tmp_path / "plain.pth", tmp_path / f"model-{i}.bin"
        torch.save({f"part{i}": torch.zeros(5_000_000)}, plain)
        with zipfile.ZipFile(plain) as source, zipfile.ZipFile(shard, "w", zipfile.ZIP_DEFLATED) as target:
            for entry in source.infolist():
                target.writestr(entry.filename, source.read(entry))
        places[f"part{i}"] = shard.name
    index = tmp_path / "model.bin.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    with pytest.raises(WeightsError, match=r"unpack to 20\.0 MB instead"):
        read_tensors(index, network().state_dict())


def test_a_compressed_file_of_the_usual_size_is_read(tmp_path):
    plain, path, state = tmp_path / "plain.pth", tmp_path / "small.pth", network().state_dict()
    torch.save(state, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry))
    assert read_tensors(path, state).keys() == state.keys()


def written_by_hand(path, body, compression=zipfile.ZIP_STORED, padding=b""):
    """A checkpoint whose pickle is a dictionary with one thing by hand."""
    content = b"\x80\x02}X\x01\x00\x00\x00w" + body + b"s" + padding + b"."
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/version", "3\n")
    return path


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("module", ["builtins", "__builtin__"])
def test_bytes_made_from_a_number_are_refused_before_they_are_made(tmp_path, module, compression):
    ask_for = f"c{module}\nbytearray\n".encode() + b"\x8a\x05" + (3 * 10**9).to_bytes(5, "little") + b"\x85R"
    path = written_by_hand(tmp_path / "a.pth", ask_for, compression)
    legacy = tmp_path / "old.pth"
    legacy.write_bytes(b"\x80\x02" + ask_for + b".")
    for file in (path, legacy):
        with pytest.raises(
            WeightsError, match=r"must hold tensors and little else\. Got a bytearray instead, which can"
        ):
            read_tensors(file)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_pickle_of_millions_of_objects_is_refused_before_they_are_made(tmp_path, compression):
    path = written_by_hand(tmp_path / "a.pth", b"(" + b"}" * (17 << 20) + b"t", compression)
    with pytest.raises(WeightsError, match=r"Got 17\.8 MB of other objects instead, which can fill the memory"):
        read_tensors(path)


def test_a_small_file_may_not_unpack_to_much_however_large_the_network(tmp_path):
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        target.writestr("a/data.pkl", b"\x80\x02}.")
        for i in range(10):
            target.writestr(f"a/data/{i}", bytes(10_000_000))
    with pytest.raises(WeightsError, match=r"Got 0\.1 MB that unpack to 100\.0 MB instead, for a network of 1\.0 GB"):
        read_content(path, 10**9)


def test_an_archive_that_zipfile_cannot_read_is_refused_and_not_handed_to_torch(tmp_path, monkeypatch):
    torch.save(network().state_dict(), tmp_path / "a.pth")
    (tmp_path / "a.pth").write_bytes((tmp_path / "a.pth").read_bytes()[:-30] + bytes(30))
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("read"))
    with pytest.raises(WeightsError, match="truncated or of another kind"):
        read_tensors(tmp_path / "a.pth")


def test_a_file_without_checksums_is_read(tmp_path):
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(network().state_dict(), tmp_path / "a.pth")
    finally:
        torch.serialization.set_crc32_options(before)
    assert read_tensors(tmp_path / "a.pth").keys() == network().state_dict().keys()


@pytest.mark.parametrize("version", ["2.6.0", "2.9.1+cu128"])
@pytest.mark.parametrize("is_old_format", [False, True])
def test_a_torch_with_a_known_hole_reads_safetensors_alone(tmp_path, monkeypatch, version, is_old_format):
    state = network().state_dict()
    torch.save(state, tmp_path / "a.pth", _use_new_zipfile_serialization=not is_old_format)
    save_file(state, tmp_path / "a.safetensors")
    with monkeypatch.context() as context:
        context.setattr(torch, "__version__", version)
        context.setattr(torch, "load", lambda *_, **__: pytest.fail("read"))
        with pytest.raises(WeightsError, match=r"torch must be 2\.10 or later to read .*Got torch .*pass safetensors"):
            read_tensors(tmp_path / "a.pth")
        assert read_tensors(tmp_path / "a.safetensors").keys() == state.keys()
    for version in ("2.10.0", "2.10.0a0+git1234", "2.14.1+cpu", "3.0.0"):
        monkeypatch.setattr(torch, "__version__", version)
        assert read_tensors(tmp_path / "a.pth").keys() == state.keys()


def test_a_pipe_socket_or_device_is_refused_rather_than_waited_for(special_file, sharded):
    with pytest.raises(WeightsError, match="must be a regular file"):
        load_backbone("tiny_fractal", special_file)
    shard = sharded.with_name("model-00001-of-00002.safetensors")
    special_file.rename(shard.with_name("elsewhere"))
    shard.unlink()
    shard.symlink_to("elsewhere")
    with pytest.raises(WeightsNotFoundError, match="Found no file 'model-00001"):
        load_backbone(network(), sharded, preprocessing=SMALL)
