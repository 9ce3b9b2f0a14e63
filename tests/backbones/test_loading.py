import copy
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from math import prod

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from sktl.backbones import Preprocessing, _loading, load_backbone
from sktl.exceptions import WeightsError, WeightsMismatchError, WeightsNotFoundError

SMALL = Preprocessing(crop_size=64)


@pytest.fixture
def weight_file(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "weights.pth"
    torch.save(models.squeezenet1_1(num_classes=3).state_dict(), path)
    return path


def no_pretraining(num_classes):
    return models.squeezenet1_1(num_classes=num_classes)


def test_the_default_is_the_bundled_network():
    backbone = load_backbone()
    assert backbone.name == "tiny_fractal"
    assert backbone.preprocessing == Preprocessing(48, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    assert "fractal" in backbone.source
    assert backbone.license == "BSD-3-Clause"
    assert {each.dtype for each in backbone.stages.parameters()} == {torch.float32}
    assert backbone.stages(torch.zeros(1, 3, 48, 48)).shape[1] == backbone.n_features


def test_one_recipe_gives_one_object(weight_file):
    assert load_backbone() is load_backbone("tiny_fractal", "default", random_state=5)
    assert load_backbone("squeezenet1_1", None) is load_backbone("squeezenet1_1", None, random_state=np.int64(0))
    assert load_backbone("squeezenet1_1", weight_file) is load_backbone("squeezenet1_1", str(weight_file))
    assert load_backbone("squeezenet1_1", None) is not load_backbone("squeezenet1_1", None, random_state=1)
    assert load_backbone() is not load_backbone(preprocessing=Preprocessing(32))


def test_a_rewritten_file_is_loaded_again(weight_file):
    first = load_backbone("squeezenet1_1", weight_file)
    torch.save({key: value * 2 for key, value in torch.load(weight_file).items()}, weight_file)
    assert load_backbone("squeezenet1_1", weight_file).digest != first.digest


def test_a_file_replaced_by_one_of_the_same_size_and_time_is_loaded_again(weight_file, tmp_path):
    first = load_backbone("squeezenet1_1", weight_file)
    facts = weight_file.stat()
    other = tmp_path / "other.pth"
    torch.save({key: value * 2 for key, value in torch.load(weight_file).items()}, other)
    other.write_bytes(other.read_bytes().ljust(facts.st_size, b"\0"))
    os.replace(other, weight_file)
    os.utime(weight_file, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert (weight_file.stat().st_size, weight_file.stat().st_mtime_ns) == (facts.st_size, facts.st_mtime_ns)
    assert load_backbone("squeezenet1_1", weight_file).digest != first.digest


def test_a_head_of_nan_is_refused_unless_it_is_dropped(weight_file):
    state = torch.load(weight_file)
    state["classifier.1.bias"][0] = torch.nan
    torch.save(state, weight_file)
    with pytest.raises(WeightsError, match=r"finite numbers.* in 1 tensors of the head of squeezenet1_1"):
        load_backbone("squeezenet1_1", weight_file)
    del state["classifier.1.weight"]
    torch.save(state, weight_file)
    with pytest.warns(UserWarning, match="in part only"):
        assert load_backbone("squeezenet1_1", weight_file, match="partial").head is None


def test_few_networks_are_kept():
    first = load_backbone("shufflenet_v2_x0_5", None)
    for seed in range(1, 6):
        load_backbone("shufflenet_v2_x0_5", None, random_state=seed)
    assert len(_loading._loaded) == 4
    again = load_backbone("shufflenet_v2_x0_5", None)
    assert again is not first
    assert again.digest == first.digest


def test_threads_share_one_network():
    with ThreadPoolExecutor(4) as threads:
        backbones = list(threads.map(lambda _: load_backbone("squeezenet1_1", None), range(8)))
    assert all(backbone is backbones[0] for backbone in backbones)


def test_random_weights_follow_the_seed_and_leave_the_global_state():
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    digests = [load_backbone("squeezenet1_1", None, random_state=seed).digest for seed in (0, 1)]
    _loading._loaded.clear()
    assert load_backbone("squeezenet1_1", None, random_state=1).digest == digests[1] != digests[0]
    assert torch.equal(torch.get_rng_state(), torch_state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002


def test_random_state_may_be_none_or_a_generator():
    fresh = {load_backbone("squeezenet1_1", None, random_state=None).digest for _ in range(2)}
    assert len(fresh) == 2
    first, second = (
        load_backbone("squeezenet1_1", None, random_state=np.random.RandomState(0)).digest for _ in range(2)
    )
    assert first == second
    generator = np.random.RandomState(0)
    load_backbone("tiny_fractal", random_state=generator)
    # Nothing is drawn where nothing is random.
    assert generator.randint(10**6) == np.random.RandomState(0).randint(10**6)


def test_random_weights_have_a_head_but_no_categories():
    backbone = load_backbone("squeezenet1_1", None)
    assert backbone.head is not None
    assert backbone.categories is None
    assert backbone.weights is None
    assert "random" in backbone.source


@pytest.mark.parametrize("name", ["squeezenet1_1", "shufflenet_v2_x0_5", "mobilenet_v3_small", "tiny_fractal"])
def test_the_number_of_classes_follows_the_file(name, tmp_path):
    record = load_backbone(name, None)
    if name == "tiny_fractal":
        from sktl.backbones.sources._bundled import TinyResNet

        network = TinyResNet(7)
    else:
        network = models.get_model(name, num_classes=7)
    save_file(network.state_dict(), tmp_path / "weights.safetensors")
    backbone = load_backbone(name, tmp_path / "weights.safetensors")
    assert backbone.n_features == record.n_features
    assert list(backbone.head.parameters())[-1].shape == (7,)
    assert backbone.categories is None


@pytest.mark.slow
def test_the_image_size_of_a_vision_transformer_follows_the_file(tmp_path):
    torch.save(models.vit_b_32(image_size=64, num_classes=5).state_dict(), tmp_path / "vit.pth")
    backbone = load_backbone("vit_b_32", tmp_path / "vit.pth")
    assert backbone.preprocessing.crop_size == 64
    assert backbone.stages(torch.zeros(1, 3, 64, 64)).shape == (1, 5, 768)


def test_auxiliary_heads_in_a_file_are_dropped(tmp_path):
    network = models.googlenet(init_weights=False, aux_logits=True)
    torch.save(network.state_dict(), tmp_path / "googlenet.pth")
    backbone = load_backbone("googlenet", tmp_path / "googlenet.pth")
    kept = sum(prod(each.shape) for part in (backbone.stages, backbone.head) for each in part.parameters())
    auxiliary = sum(prod(each.shape) for part in (network.aux1, network.aux2) for each in part.parameters())
    assert kept + auxiliary == sum(prod(each.shape) for each in network.parameters())


def test_another_architecture_is_a_mismatch(weight_file):
    with pytest.raises(WeightsMismatchError, match="must fit shufflenet_v2_x0_5"):
        load_backbone("shufflenet_v2_x0_5", weight_file)


def test_partial_reports_what_did_not_fit(weight_file):
    state = torch.load(weight_file)
    del state["features.0.weight"], state["classifier.1.bias"]
    torch.save(state, weight_file)
    with pytest.raises(WeightsMismatchError, match="2 missing"):
        load_backbone("squeezenet1_1", weight_file)
    with pytest.warns(UserWarning, match="in part only"):
        backbone = load_backbone("squeezenet1_1", weight_file, match="partial")
    assert backbone.load_report.missing == ("features.0.weight", "classifier.1.bias")
    # Half of a classifier classifies nothing.
    assert backbone.head is None
    assert backbone.n_features == 512
    with pytest.warns(UserWarning, match="in part only"):
        other = load_backbone("squeezenet1_1", weight_file, match="partial", random_state=1)
    assert other.digest != backbone.digest


def with_or_without_norm(norm):
    return nn.Sequential(nn.Conv2d(3, 4, 3), *([nn.BatchNorm2d(4)] if norm is True else []), nn.AdaptiveAvgPool2d(1))


def test_arguments_that_are_equal_and_of_other_kinds_make_other_networks():
    with_norm, without = (load_backbone(partial(with_or_without_norm, norm), preprocessing=SMALL) for norm in (True, 1))
    assert with_norm is not without
    assert len(list(with_norm.stages.buffers())) > len(list(without.stages.buffers())) == 0


def test_a_factory_is_called_under_the_seed_and_shared():
    make = partial(no_pretraining, num_classes=7)
    backbone = load_backbone(make, preprocessing=SMALL)
    assert load_backbone(copy.deepcopy(make), preprocessing=SMALL) is backbone
    assert load_backbone(partial(no_pretraining, num_classes=8), preprocessing=SMALL) is not backbone
    assert load_backbone(make, preprocessing=SMALL, random_state=1).digest != backbone.digest
    assert backbone.stage_names == ("stem", "stage1", "stage2", "stage3")


def test_a_class_is_a_factory():
    class Net(nn.Sequential):
        def __init__(self):
            super().__init__(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))

    assert load_backbone(Net, preprocessing=SMALL).n_features == 4


def test_a_factory_with_a_file(weight_file):
    backbone = load_backbone(partial(no_pretraining, num_classes=3), weight_file, preprocessing=SMALL)
    expected = torch.load(weight_file)["features.0.weight"]
    assert torch.equal(backbone.stages.stem[0].weight, expected)
    assert pickle.loads(pickle.dumps(backbone)) is backbone


def test_a_factory_with_its_own_weights_draws_others_for_training_from_scratch():
    trained = models.squeezenet1_1(num_classes=2)
    before = copy.deepcopy(trained.state_dict())
    one, again, other = (load_backbone(lambda: trained, None, preprocessing=SMALL, random_state=i) for i in (0, 0, 1))
    assert one.weights is None
    assert one.digest == again.digest != other.digest
    assert not torch.equal(one.stages.stem[0].weight, trained.features[0].weight)
    assert all(torch.equal(value, before[key]) for key, value in trained.state_dict().items())
    random = load_backbone(partial(no_pretraining, num_classes=2), None, preprocessing=SMALL)
    assert random.weights is None


def test_a_factory_with_its_own_weights_that_nothing_draws_anew_is_refused():
    class Kept(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3, 4))

        def forward(self, x):
            return x.mean((2, 3)) @ self.weight

    with pytest.raises(ValueError, match=r"Got the same weights twice.*cannot draw others.*leave out its own"):
        load_backbone(Kept, None, preprocessing=SMALL)


def test_a_factory_whose_arguments_cannot_be_compared_still_loads():
    class Unhashable:
        __hash__ = None

        def __call__(self):
            return no_pretraining(2)

    assert load_backbone(Unhashable(), preprocessing=SMALL).n_features == 512


def test_a_factory_must_return_a_module():
    with pytest.raises(ValueError, match="which returned int, instead"):
        load_backbone(lambda: 3)


def test_a_backbone_passes_unless_told_otherwise(weight_file):
    backbone = load_backbone("squeezenet1_1", None)
    assert load_backbone(backbone) is backbone
    assert load_backbone(backbone, preprocessing=backbone.preprocessing) is backbone
    other = load_backbone(backbone, preprocessing=SMALL)
    assert other.stages is backbone.stages
    assert pickle.loads(pickle.dumps(other)).preprocessing == SMALL
    assert load_backbone(backbone, weight_file) is load_backbone("squeezenet1_1", weight_file)
    assert load_backbone(load_backbone("squeezenet1_1", weight_file), None) is backbone


def test_a_backbone_of_a_module_has_a_random_twin():
    backbone = load_backbone(no_pretraining(2), preprocessing=SMALL)
    before = backbone.digest
    twin = load_backbone(backbone, None, random_state=4)
    assert twin.digest != before == backbone.digest
    assert twin.weights is None
    assert twin.stage_names == backbone.stage_names
    assert load_backbone(backbone, None, random_state=4).digest == twin.digest
    with pytest.raises(ValueError, match="pass the module and the file"):
        load_backbone(backbone, "file.pth")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet5O", "Did you mean 'resnet50'"),
        ("ResNet50", "Did you mean 'resnet50'"),
        ("efficientnet-b0", "Did you mean 'efficientnet_b0'"),
        ("tiny", "list_backbones"),
        ("models/resnet.pth", "A file does not say its architecture"),
        ("dinov2_vits14", "as 'timm/NAME', with the extra 'timm', and .* as 'owner/name', with the extra 'hub'"),
        ("https://huggingface.co/facebook/dinov2-small", "write 'owner/name' alone"),
    ],
)
def test_unknown_names_are_answered(name, message):
    with pytest.raises(ValueError, match=message):
        load_backbone(name)


def test_a_folder_without_a_network_is_no_file_of_weights(tmp_path):
    with pytest.raises(ValueError, match=r"A folder needs a config\.json"):
        load_backbone(f"{tmp_path}{os.sep}")


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "tf_efficientnet_lite0"])
def test_names_of_timm_alone_are_completed(name):
    pytest.importorskip("timm", reason="comes with the extra 'timm'")
    with pytest.raises(ValueError, match=f"Did you mean 'timm/{name}'"):
        load_backbone(name)


@pytest.mark.parametrize(
    ("weights", "shown"),
    [(True, "Got True instead"), (nn.Linear(1, 1), "Got Linear instead"), ("a1", "Got 'a1' instead")],
    ids=["True", "module", "name"],
)
def test_weights_of_another_kind_are_shown_in_few_words(weights, shown):
    with pytest.raises(ValueError, match=shown):
        load_backbone("resnet18", weights)


@pytest.mark.parametrize("wrong", [None, 3, ["resnet18"]])
def test_other_types_are_refused(wrong):
    with pytest.raises(TypeError, match="backbone must be a name"):
        load_backbone(wrong)


def test_wrong_options_are_named(tmp_path):
    with pytest.raises(TypeError, match="A file of weights goes into weights="):
        load_backbone(tmp_path / "weights.pth")
    with pytest.raises(ValueError, match=r"match must be 'exact' or 'partial'. Got 'partal'.* Did you mean 'partial'"):
        load_backbone(match="partal")
    with pytest.raises(TypeError, match=r"preprocessing must be a Preprocessing or None\. Got int"):
        load_backbone(preprocessing=48)
    with pytest.raises(ValueError, match="whose chain is fixed"):
        load_backbone("resnet18", None, stages=["layer1"])
    with pytest.raises(ValueError, match="weights of tiny_fractal must be 'default'"):
        load_backbone("tiny_fractal", "IMAGENET1K_V1")
    with pytest.raises(ValueError, match="weights of a network of your own must be 'default'"):
        load_backbone(no_pretraining(2), "IMAGENET1K_V1")
    with pytest.raises(WeightsNotFoundError, match="Found nothing at"):
        load_backbone("tiny_fractal", tmp_path / "weights.pth")
    with pytest.raises(WeightsError, match=r"must be a file\. Got the folder"):
        load_backbone("resnet18", tmp_path)
