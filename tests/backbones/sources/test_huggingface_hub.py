"""Repositories of the Hub: downloaded once, from one commit, and every failure is one clear error."""
# ruff: noqa: E402

import hashlib
import json
import pickle
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("transformers")
constants = pytest.importorskip("huggingface_hub").constants
_http = pytest.importorskip("huggingface_hub.utils._http")

from fake_hub import COMMIT, FakeHub
from safetensors.torch import save
from tiny_transformers import tiny

from sktl.backbones import Preprocessing, _loading, load_backbone
from sktl.backbones.sources._huggingface_hub import _check_hash
from sktl.exceptions import WeightsError, WeightsNotFoundError

NAME = "owner/network"
CARD = b"---\nlicense: apache-2.0\ndatasets:\n- imagenet-1k\n---\n# A network\n"
SETTINGS = {"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 32}, "do_resize": True}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("network")
    tiny("ViTForImageClassification").save_pretrained(folder)
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    return {**files, "README.md": CARD, "preprocessor_config.json": json.dumps(SETTINGS).encode()}


@pytest.fixture
def hub(files, tmp_path, monkeypatch):
    with FakeHub({NAME: dict(files)}) as hub:
        use(hub.url, tmp_path, monkeypatch)
        yield hub


def use(url, cache, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 4096)


def whole_files(cache):
    return sorted(file.name for file in Path(cache).glob("models--*/snapshots/*/*"))


def test_a_repository_is_downloaded_and_announced_on_standard_error(hub, capsys):
    backbone = load_backbone(NAME)
    out, errors = capsys.readouterr()
    assert out == ""
    assert "Downloading model.safetensors of owner/network" in errors
    assert (backbone.name, backbone.weights) == (NAME, COMMIT)
    assert (backbone.license, backbone.source) == ("apache-2.0", "imagenet-1k")
    assert backbone.preprocessing == Preprocessing(32, mean=(0.5,) * 3, std=(0.5,) * 3, crop_mode="squash")


def test_what_is_on_this_machine_is_read_without_a_question_to_the_hub(hub, monkeypatch, capsys):
    backbone = load_backbone(NAME)
    asked = len(hub.requests)
    capsys.readouterr()
    _loading._loaded.clear()
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:1")
    assert load_backbone(NAME).digest == backbone.digest
    assert len(hub.requests) == asked
    assert "Downloading" not in capsys.readouterr().err


def test_a_pickle_asks_for_the_commit(hub):
    backbone = load_backbone(NAME)
    assert backbone.reload.keywords["backbone"] == f"{NAME}@{COMMIT}"
    _loading._loaded.clear()
    asked = len(hub.requests)
    assert pickle.loads(pickle.dumps(backbone)).digest == backbone.digest
    assert len(hub.requests) == asked


def test_a_revision_may_be_named(hub):
    load_backbone(f"{NAME}@v1")
    assert any("/resolve/v1/config.json" in path for _, path, _ in hub.requests)


def test_from_scratch_no_weights_are_downloaded(hub, tmp_path):
    load_backbone(NAME, weights=None)
    assert "model.safetensors" not in whole_files(tmp_path)


def test_a_download_that_breaks_off_goes_on_where_it_was(hub, files):
    pytest.importorskip("huggingface_hub", minversion="2.0", reason="earlier ones begin again")
    hub.cut_after["model.safetensors"] = 3 * 4096
    load_backbone(NAME)
    ranges = [found for method, path, found in hub.requests if method == "GET" and "model.safetensors" in path]
    assert ranges[0] is None
    assert ranges[1] is not None
    assert 0 < int(ranges[1].removeprefix("bytes=").split("-")[0]) <= 3 * 4096


def test_a_file_of_another_hash_is_an_error_and_is_not_kept(hub, files, tmp_path):
    damaged = bytearray(files["model.safetensors"])
    damaged[-5] ^= 1
    hub.served["model.safetensors"] = bytes(damaged)
    with pytest.raises(WeightsError, match="must have the hash"):
        load_backbone(NAME)
    assert "model.safetensors" not in whole_files(tmp_path)
    hub.served.clear()
    assert load_backbone(NAME).weights == COMMIT


def test_a_file_that_is_too_short_is_an_error_and_is_not_kept(hub, files, tmp_path):
    hub.served["model.safetensors"] = files["model.safetensors"][:-100]
    with pytest.raises(WeightsNotFoundError, match="not whole on this machine"):
        load_backbone(NAME)
    assert "model.safetensors" not in whole_files(tmp_path)


@pytest.mark.parametrize("place", ["nothing in the cache", "weights not in the cache"])
def test_a_hub_that_is_gone_is_an_error(place, hub, tmp_path, monkeypatch):
    if place == "weights not in the cache":
        load_backbone(NAME, weights=None)
    use("http://127.0.0.1:1", tmp_path, monkeypatch)
    # It tries again and again, for half a minute.
    monkeypatch.setattr(_http, "time", SimpleNamespace(**{**vars(time), "sleep": lambda _: None}))
    with pytest.raises(WeightsNotFoundError, match="cannot be downloaded") as raised:
        load_backbone(NAME)
    assert str(tmp_path) in str(raised.value)
    assert f"hf download {NAME}" in str(raised.value)


def test_offline_is_an_error(hub, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsNotFoundError, match="cannot be downloaded"):
        load_backbone(NAME)
    assert not hub.requests


@pytest.mark.parametrize(
    ("name", "message"),
    [("owner/nothing", "not on the Hub"), (f"{NAME}@v9", "no revision 'v9'"), ("owner/gated", "accept its conditions")],
)
def test_what_the_hub_refuses_is_an_error(name, message, hub, files):
    hub.repositories["owner/gated"] = files
    hub.gated.add("owner/gated")
    with pytest.raises(WeightsNotFoundError, match=message):
        load_backbone(name)


def test_what_is_no_name_of_a_repository_is_an_error(hub):
    with pytest.raises(ValueError, match=r"backbone must be a name, or 'owner/name' .* Got 'owner/..' instead"):
        load_backbone("owner/..")
    assert not hub.requests


def test_without_the_library_of_the_hub_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"'owner/network' needs huggingface_hub.*pip install 'sktl\[hub\]'"):
        load_backbone(NAME)


def test_weights_in_several_files_are_all_downloaded(hub, files, tmp_path):
    whole = load_backbone(NAME)
    _loading._loaded.clear()
    tiny("ViTForImageClassification").save_pretrained(tmp_path / "many", max_shard_size="60KB")
    shards = {file.name: file.read_bytes() for file in (tmp_path / "many").iterdir() if "safetensors" in file.name}
    assert len(shards) > 2
    hub.repositories["owner/many"] = {**files, **shards}
    del hub.repositories["owner/many"]["model.safetensors"]
    many = load_backbone("owner/many")
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(many.stages(images), whole.stages(images))
    assert {*shards} <= {*whole_files(tmp_path)}


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (b"[]", "must list the files of weights"),
        (b"{", "must list the files of weights"),
        (b'{"weight_map": {"a": "../other.safetensors"}}', r"Got '\.\./other\.safetensors' instead"),
        (b'{"weight_map": {"a": "model.bin"}}', r"Got 'model\.bin' instead"),
        (b'{"weight_map": {"a": 3}}', "Got 3 instead"),
    ],
)
def test_an_index_that_names_no_files_beside_it_is_an_error(index, message, hub):
    del hub.repositories[NAME]["model.safetensors"]
    hub.repositories[NAME]["model.safetensors.index.json"] = index
    with pytest.raises(WeightsError, match=message):
        load_backbone(NAME)


def test_a_folder_that_lacks_one_of_the_files_of_its_index_is_an_error(tmp_path):
    tiny("ViTModel").save_pretrained(tmp_path, max_shard_size="60KB")
    lost = sorted(tmp_path.glob("model-*.safetensors"))[1]
    lost.unlink()
    with pytest.raises(WeightsNotFoundError, match=f"must be whole. Found no '{lost.name}'"):
        load_backbone(tmp_path)


def test_a_repository_without_a_configuration_is_an_error(hub):
    del hub.repositories[NAME]["config.json"]
    with pytest.raises(WeightsNotFoundError, match=r"'owner/network' has no file 'config\.json'"):
        load_backbone(NAME)


def test_a_model_card_that_cannot_be_read_states_nothing(hub):
    hub.repositories[NAME]["README.md"] = b"---\nlicense: [\n---\n"
    backbone = load_backbone(NAME)
    assert (backbone.license, backbone.source) == ("unknown", "unknown")


@pytest.mark.parametrize("linked", [True, False])
@pytest.mark.parametrize(
    "name",
    [
        lambda content: hashlib.sha256(content).hexdigest(),
        lambda content: hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest(),  # as git has it
    ],
    ids=["sha256", "git"],
)
def test_a_download_is_compared_with_the_hash_in_its_name(name, linked, tmp_path):
    def arrived(content):
        stored = tmp_path / name(b"what the Hub has")
        stored.write_bytes(content)
        if linked:
            (tmp_path / "model").unlink(missing_ok=True)
            (tmp_path / "model").symlink_to(stored)
        return tmp_path / "model" if linked else stored

    _check_hash(arrived(b"what the Hub has"), "owner/network")
    with pytest.raises(WeightsError, match=r"must have the hash that the Hub gives for it.*and was deleted"):
        _check_hash(arrived(b"something else"), "owner/network")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "model").write_bytes(b"no hash is known of a file in its own place")
    _check_hash(tmp_path / "model", "owner/network")


def test_a_repository_of_pickles_is_refused(hub):
    del hub.repositories[NAME]["model.safetensors"]
    hub.repositories[NAME]["pytorch_model.bin"] = b"pickle"
    with pytest.raises(WeightsError, match="its other files are pickles"):
        load_backbone(NAME)
    assert not any("pytorch_model.bin" in path for _, path, _ in hub.requests)


@pytest.mark.slow
def test_the_environment_says_where_hub_and_cache_are(files, tmp_path):
    program = f"from sktl.backbones import load_backbone; print(load_backbone({NAME!r}).digest)"
    with FakeHub({NAME: dict(files)}) as hub:
        environment = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path), "PYTHONPATH": ":".join(sys.path)}
        first = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    offline = subprocess.run(
        [sys.executable, "-c", program], env={**environment, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True
    )
    assert offline.stdout == first.stdout


@pytest.fixture
def timm_hub(tmp_path, monkeypatch):
    timm = pytest.importorskip("timm")
    weights = save(timm.create_model("test_resnet").state_dict())
    with FakeHub({"timm/test_resnet.r160_in1k": {"model.safetensors": weights}}) as hub:
        use(hub.url, tmp_path, monkeypatch)
        yield hub


def test_weights_of_timm_are_downloaded_announced_and_read_without_a_question_afterwards(timm_hub, capsys):
    backbone = load_backbone("timm/test_resnet.r160_in1k")
    assert (
        "Downloading model.safetensors of timm/test_resnet.r160_in1k from the Hugging Face Hub to"
        in capsys.readouterr().err
    )
    asked = len(timm_hub.requests)
    _loading._loaded.clear()
    assert load_backbone("timm/test_resnet.r160_in1k").digest == backbone.digest
    assert len(timm_hub.requests) == asked


def test_weights_of_timm_with_another_hash_are_refused_and_deleted(timm_hub, tmp_path):
    content = timm_hub.repositories["timm/test_resnet.r160_in1k"]["model.safetensors"]
    timm_hub.served["model.safetensors"] = content[:-1] + bytes([content[-1] ^ 1])
    with pytest.raises(WeightsError, match="must have the hash that the Hub gives"):
        load_backbone("timm/test_resnet.r160_in1k")
    assert whole_files(tmp_path) == []


@pytest.mark.slow
def test_a_download_of_timm_that_breaks_off_goes_on_where_it_was(timm_hub):
    timm_hub.cut_after["model.safetensors"] = 4 * 4096
    assert load_backbone("timm/test_resnet.r160_in1k").weights is not None
    assert "bytes=16384-" in [asked for _, _, asked in timm_hub.requests if asked]
