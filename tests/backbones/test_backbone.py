import copy
import os
import pickle
import subprocess
import sys
import time
from dataclasses import FrozenInstanceError
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.base import clone
from torch import nn
from torchvision import models

from sktl.backbones import Backbone, Preprocessing, _loading, load_backbone
from sktl.backbones._backbone import tensor_digest
from sktl.exceptions import WeightsError, WeightsMismatchError, WeightsNotFoundError


@pytest.fixture
def weight_file(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "weights.pth"
    torch.save(models.squeezenet1_1(num_classes=3).state_dict(), path)
    return path


def test_layers_are_counted_by_name_and_from_the_top():
    backbone = load_backbone("resnet18", None)
    assert backbone.n_stages_below() == backbone.n_stages_below("penultimate") == backbone.n_stages_below(0) == 5
    assert backbone.n_stages_below("layer4") == 5
    assert backbone.n_stages_below("stem") == 1
    assert backbone.n_stages_below(np.int64(2)) == 3
    assert backbone.n_stages_below(5) == 0


@pytest.mark.parametrize("layer", ["layer5", 6, -1, True, 1.0, None])
def test_unknown_layers_are_answered_with_the_names(layer):
    with pytest.raises(ValueError, match=r"layer must be 'penultimate', one of the stages \('stem', 'layer1'"):
        load_backbone("resnet18", None).n_stages_below(layer)
    with pytest.raises(ValueError, match="Did you mean 'penultimate'"):
        load_backbone("resnet18", None).n_stages_below("penultimat")


def test_a_record_is_frozen_and_copies_are_itself():
    backbone = load_backbone()
    with pytest.raises(FrozenInstanceError):
        backbone.name = "other"
    assert copy.deepcopy(backbone) is backbone
    assert copy.copy(backbone) is backbone
    assert clone(backbone, safe=False) is backbone
    assert not any(each.requires_grad for each in backbone.stages.parameters())
    assert not any(part.training for part in (*backbone.stages.modules(), *backbone.head.modules()))


def test_the_text_form_is_short():
    text = repr(load_backbone("resnet18", None))
    assert text.startswith("Backbone('resnet18', weights=None")
    assert len(text) < 200


@pytest.mark.parametrize("spec", [("tiny_fractal", "default"), ("squeezenet1_1", None)])
def test_a_pickle_is_small_and_finds_the_same_object(spec):
    backbone = load_backbone(*spec)
    pickled = pickle.dumps(backbone)
    assert len(pickled) < 2000
    assert pickle.loads(pickled) is backbone


def test_a_pickle_loads_again_after_the_network_is_forgotten(weight_file):
    backbone = load_backbone("squeezenet1_1", weight_file, preprocessing=Preprocessing(64))
    pickled = pickle.dumps(backbone)
    assert len(pickled) < 3000
    _loading._loaded.clear()
    again = pickle.loads(pickled)
    assert again is not backbone
    assert again.digest == backbone.digest
    assert again.preprocessing == Preprocessing(64)


@pytest.mark.slow
def test_a_pickle_loads_in_a_fresh_process(weight_file, tmp_path):
    backbones = [load_backbone("squeezenet1_1", weight_file), load_backbone("squeezenet1_1", None, random_state=3)]
    (tmp_path / "pickle").write_bytes(pickle.dumps(backbones))
    code = "import pickle, sys; print(*(b.digest for b in pickle.load(open(sys.argv[1], 'rb'))))"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "pickle")], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [backbone.digest for backbone in backbones]


def test_a_pickle_whose_file_is_gone_says_so(weight_file):
    pickled = pickle.dumps(load_backbone("squeezenet1_1", weight_file))
    weight_file.unlink()
    with pytest.raises(WeightsNotFoundError, match=r"weights\.pth"):
        pickle.loads(pickled)


def test_a_pickle_whose_file_has_changed_says_so(weight_file):
    pickled = pickle.dumps(load_backbone("squeezenet1_1", weight_file))
    torch.save({key: value + 1 for key, value in torch.load(weight_file).items()}, weight_file)
    with pytest.raises(WeightsMismatchError, match="must be those that were pickled, with digest"):
        pickle.loads(pickled)


def test_a_backbone_made_from_a_module_pickles_the_module():
    backbone = load_backbone(models.squeezenet1_1(num_classes=2), preprocessing=Preprocessing(64))
    again = pickle.loads(pickle.dumps(backbone))
    assert isinstance(again, Backbone)
    assert again.digest == backbone.digest
    assert tensor_digest("", stages=again.stages) == tensor_digest("", stages=backbone.stages)
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(again.stages(images), backbone.stages(images))


def test_a_backbone_made_by_a_function_pickles_the_function_if_it_can():
    preprocessing = Preprocessing(64)
    small = load_backbone(partial(models.squeezenet1_1, num_classes=2), preprocessing=preprocessing)
    assert len(pickle.dumps(small)) < 2000
    assert pickle.loads(pickle.dumps(small)) is small
    local = load_backbone(lambda: models.squeezenet1_1(num_classes=2), preprocessing=preprocessing)
    assert pickle.loads(pickle.dumps(local)).digest == local.digest == small.digest


def test_the_digest_tells_name_names_shapes_types_and_values_apart():
    def digest(*tensors, name="net", key="part"):
        module = nn.Module()
        for i, tensor in enumerate(tensors):
            module.register_buffer(f"b{i}", tensor)
        return tensor_digest(name, **{key: module})

    zeros = torch.zeros(2, 3)
    digests = [
        digest(zeros),
        digest(zeros, name="other"),
        digest(zeros, key="head"),
        digest(zeros.T),
        digest(zeros.double()),
        digest(zeros.to(torch.int32)),
        digest(zeros + 1),
        digest(zeros, zeros),
        digest(torch.tensor(0)),
        digest(torch.zeros(0)),
        digest(zeros.bfloat16()),
    ]
    assert len(set(digests)) == len(digests)
    assert all(len(each) == 64 for each in digests)
    assert digest(zeros.T.contiguous().T) == digest(zeros)


def test_the_digest_does_not_depend_on_the_order_of_modules():
    torch.manual_seed(0)
    first, second = nn.Linear(2, 2), nn.Linear(2, 2)
    assert tensor_digest("", a=first, b=second) == tensor_digest("", b=second, a=first)
    assert tensor_digest("", a=first, head=None) == tensor_digest("", a=first)


def test_the_digest_of_a_hundred_megabytes_is_quick():
    module = nn.Linear(5000, 5000, bias=False)
    start = time.perf_counter()
    tensor_digest("", a=module)
    # Measured as 0.06 s; the margin is for machines that are busy or have no instructions for SHA.
    assert time.perf_counter() - start < 2


def test_weights_that_are_not_finite_are_refused(weight_file):
    state = torch.load(weight_file)
    state["features.3.squeeze.weight"][0, 0] = torch.nan
    torch.save(state, weight_file)
    with pytest.raises(WeightsError, match=r"weights must be finite numbers\. Got NaN or infinity in 1 tensors"):
        load_backbone("squeezenet1_1", weight_file)


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A folder to work in, and another home, without any weights."""
    for name in ("here", "home", "moved"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.mark.slow
def test_a_pickle_finds_a_file_that_has_moved_by_its_digest_in_another_process(weight_file, elsewhere):
    backbone = load_backbone("squeezenet1_1", weight_file)
    (elsewhere / "pickle").write_bytes(pickle.dumps(backbone))
    moved = elsewhere / "moved"
    torch.save({key: value + 1 for key, value in torch.load(weight_file).items()}, moved / weight_file.name)
    (moved / "notes.pt").write_text("no weights")
    weight_file.rename(moved / "renamed.pth")
    folders = f"{elsewhere / 'home'}{os.pathsep}{moved}"
    done = subprocess.run(
        [sys.executable, "-c", "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')).digest)", "../pickle"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "HOME": str(elsewhere / "home"), "SKTL_WEIGHTS_DIR": folders},
    )
    assert done.stdout.strip() == backbone.digest


def test_a_pickle_finds_a_renamed_file_among_damaged_and_changed_ones(weight_file, elsewhere, monkeypatch):
    backbone = load_backbone("squeezenet1_1", weight_file)
    pickled = pickle.dumps(backbone)
    moved = elsewhere / "moved"
    torch.save({key: value + 1 for key, value in torch.load(weight_file).items()}, moved / weight_file.name)
    (moved / "notes.pt").write_text("no weights")
    weight_file.rename(moved / "renamed.pth")
    _loading._loaded.clear()
    monkeypatch.setenv("SKTL_WEIGHTS_DIR", str(moved))
    assert pickle.loads(pickled).digest == backbone.digest


def test_a_pickle_whose_file_is_nowhere_names_its_digest_and_where_it_looked(weight_file, elsewhere, monkeypatch):
    backbone = load_backbone("squeezenet1_1", weight_file)
    pickled = pickle.dumps(backbone)
    weight_file.unlink()
    monkeypatch.setenv("SKTL_WEIGHTS_DIR", str(elsewhere / "moved"))
    with pytest.raises(WeightsNotFoundError) as refusal:
        pickle.loads(pickled)
    places = (elsewhere / "moved", elsewhere / "here", elsewhere / "home" / "hub" / "checkpoints")
    for named in (backbone.digest[:12], str(weight_file), "SKTL_WEIGHTS_DIR", *map(str, places)):
        assert named in str(refusal.value)


@pytest.mark.parametrize("place", ["here", "home/hub/checkpoints"])
def test_a_pickle_finds_a_file_of_the_same_name_here_and_in_torchs_folder(weight_file, elsewhere, place):
    backbone = load_backbone("squeezenet1_1", weight_file)
    pickled = pickle.dumps(backbone)
    (elsewhere / place).mkdir(parents=True, exist_ok=True)
    moved = weight_file.rename(elsewhere / place / weight_file.name)
    assert pickle.loads(pickled).digest == backbone.digest
    moved.rename(moved.with_name("another.pth"))
    with pytest.raises(WeightsNotFoundError):
        pickle.loads(pickled)


def test_a_replaced_file_does_not_hide_the_one_that_was_pickled(weight_file, elsewhere, monkeypatch):
    backbone = load_backbone("squeezenet1_1", weight_file)
    pickled = pickle.dumps(backbone)
    monkeypatch.setenv("SKTL_WEIGHTS_DIR", str(elsewhere / "moved"))
    content = torch.load(weight_file)
    torch.save({key: value + 1 for key, value in content.items()}, weight_file)
    with pytest.raises(WeightsMismatchError, match=f"{backbone.digest[:12]}.*SKTL_WEIGHTS_DIR"):
        pickle.loads(pickled)
    torch.save(content, elsewhere / "moved" / "former.pth")
    assert pickle.loads(pickled).weights == str(elsewhere / "moved" / "former.pth")
