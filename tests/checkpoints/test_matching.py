"""What a training leaves behind, in any dictionaries and under any prefixes, loads as the same tensors do by hand."""

import pickle
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from sktl.backbones import _loading, load_backbone
from sktl.checkpoints.matching import network_tensors
from sktl.exceptions import WeightsError, WeightsMismatchError

FILE = Path("file.pth")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.layer1 = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4))
        self.fc = nn.Linear(4, 2)


def state(seed=0):
    torch.manual_seed(seed)
    return {name: torch.rand(each.shape).to(each.dtype) for name, each in Net().state_dict().items()}


OWN = state()
PARTS = ["module", "model", "_orig_mod", "net", "backbone", "encoder", "encoder_q", "student", "visual", "0", "x_y"]
FOREIGN = ["n_averaged", "queue_ptr", "decay", "criterion.weight", "queue", "module.loss.proto", "head2.0.bias"]
KEYS = ["state_dict", "model_state_dict", "model", "net", "params", "params_ema", "state_dict_ema", "generator", "a.b"]


def foreign_tensor(name):
    single = name in ("n_averaged", "queue_ptr", "decay")
    return torch.tensor([3]) if name == "queue_ptr" else torch.tensor(3) if single else torch.zeros(3, 7)


@settings(max_examples=150, deadline=None)
@given(
    prefix=st.lists(st.sampled_from(PARTS), max_size=5),
    wrappers=st.lists(st.sampled_from(KEYS), max_size=3),
    foreign=st.sets(st.sampled_from(FOREIGN), max_size=3),
    inner=st.booleans(),
)
@example(prefix=["model", "_orig_mod"], wrappers=["state_dict"], foreign={"criterion.weight"}, inner=True)
@example(prefix=["_orig_mod", "module"], wrappers=[], foreign={"n_averaged"}, inner=False)
def test_prefixes_wrappers_and_foreign_tensors_in_any_order_do_not_matter(prefix, wrappers, foreign, inner):
    names = {name: name.replace("layer1.", "layer1._orig_mod.") if inner else name for name in OWN}
    content = {".".join([*prefix, names[name]]): tensor for name, tensor in OWN.items()}
    content |= {name: foreign_tensor(name) for name in foreign}
    for key in reversed(wrappers):
        content = {key: content, "epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}}}
    found = network_tensors(content, FILE, OWN)
    assert all(found[name] is tensor for name, tensor in OWN.items())
    assert len(found) == len(OWN) + len(foreign)


@given(prefix=st.lists(st.sampled_from(["wrapped", "module", "net"]), min_size=1, max_size=3))
def test_a_network_inside_of_a_module_takes_the_file_of_the_network_alone(prefix):
    own = {".".join([*prefix, name]): tensor for name, tensor in OWN.items()}
    assert network_tensors(OWN, FILE, own).keys() == own.keys()
    assert network_tensors({f"module.{name}": each for name, each in own.items()}, FILE, own).keys() == own.keys()
    assert network_tensors({f"other.{name}": each for name, each in OWN.items()}, FILE, own).keys() == own.keys()


@pytest.mark.parametrize("prefix", ["layer1.", "stem.", "fc.", "module.layer1."])
def test_a_prefix_that_is_a_part_of_the_network_stays(prefix):
    own = {prefix + name: tensor for name, tensor in OWN.items()} | OWN
    found = network_tensors({f"model.{name}": tensor for name, tensor in own.items()}, FILE, own)
    assert found.keys() == own.keys()
    assert all(found[name] is own[name] for name in own)


MODEL, AVERAGE = state(1), state(2)


def under(prefix, tensors):
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("content", "average", "label"),
    [
        ({"model": MODEL, "model_ema": AVERAGE}, "model_ema", "model"),
        ({"state_dict_ema": AVERAGE, "state_dict": MODEL}, "state_dict_ema", "state_dict"),
        ({"params_ema": under("module", AVERAGE), "params": MODEL}, "params_ema", "params"),
        ({"teacher": under("backbone", AVERAGE), "student": under("backbone", MODEL)}, "teacher", "student.backbone"),
        ({"state_dict": under("encoder_k", AVERAGE) | under("encoder_q", MODEL)}, "encoder_k", "state_dict.encoder_q"),
        (under("module.teacher", AVERAGE) | under("module.student", MODEL), "module.teacher", "module.student"),
        ({"net": MODEL, "ema": {"state_dict": AVERAGE, "decay": 0.9}}, "ema", "net"),
    ],
)
def test_of_a_model_and_its_average_the_model_is_taken_and_the_other_can_be_asked_for(content, average, label):
    with pytest.warns(
        UserWarning, match=rf"more than one network that fits: '{label}' was taken.*{average}.* for another"
    ):
        found = network_tensors(content, FILE, OWN)
    assert all(found[name] is MODEL[name] for name in OWN)
    assert found.keys() == OWN.keys()
    for part, expected in ((average, AVERAGE), (label, MODEL)):
        found = network_tensors(content, FILE, OWN, part)
        assert all(found[name] is expected[name] for name in OWN)
        assert found.keys() == OWN.keys()
    with pytest.raises(WeightsError, match=r"behind '::' must be a part of 'file.pth'.* Got 'nothing' instead"):
        network_tensors(content, FILE, OWN, "nothing")


def test_an_average_alone_is_taken_without_a_word():
    assert network_tensors({"model_ema": AVERAGE, "epoch": 1}, FILE, OWN).keys() == OWN.keys()


def test_one_model_under_two_keys_is_one_model():
    copies = {name: tensor.clone() for name, tensor in MODEL.items()}
    assert network_tensors({"model": MODEL, "best": copies}, FILE, OWN).keys() == OWN.keys()


@pytest.mark.parametrize(
    "content", [under("left", MODEL) | under("right", AVERAGE), {"left": MODEL, "right": under("module", AVERAGE)}]
)
def test_networks_that_fit_equally_well_are_an_error_that_names_them(content):
    with pytest.raises(WeightsError, match=r"must hold one network.*'file.pth::left' for one of 'left', 'right"):
        network_tensors(content, FILE, OWN)
    assert network_tensors(content, FILE, OWN, "right")["fc.bias"] is AVERAGE["fc.bias"]


def test_among_networks_of_one_family_shapes_tell_which_is_meant():
    other = {name: torch.zeros(tuple(2 * n for n in tensor.shape)) for name, tensor in OWN.items()}
    assert network_tensors(under("left", other) | under("right", MODEL), FILE, OWN)["fc.bias"] is MODEL["fc.bias"]


def test_of_a_file_that_hardly_fits_nothing_is_taken_off():
    content = {"a.fc.weight": torch.zeros(2, 4), "b.conv": torch.zeros(1), "c.conv": torch.zeros(1)}
    assert network_tensors(content, FILE, OWN).keys() == content.keys()


# Through the front door: the oracle is torch's own load_state_dict on the tensors before they were wrapped.


@pytest.fixture(scope="module")
def squeezenet():
    torch.manual_seed(0)
    return models.squeezenet1_1(num_classes=3)


def assert_same_network(backbone, network):
    network = network.eval()
    images = torch.rand((2, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network.features(images)
        assert torch.equal(backbone.stages(images), expected)


def test_an_averaged_model_of_torch_loads(squeezenet, tmp_path):
    averaged = torch.optim.swa_utils.AveragedModel(squeezenet)
    averaged.update_parameters(squeezenet)
    torch.save(averaged.state_dict(), tmp_path / "swa.pth")
    assert_same_network(load_backbone("squeezenet1_1", tmp_path / "swa.pth"), averaged.module)


@pytest.mark.parametrize("own_module", [False, True])
def test_a_lightning_checkpoint_of_a_compiled_model_loads(squeezenet, tmp_path, own_module):
    state = {f"model.{name}": each for name, each in torch.compile(squeezenet).state_dict().items()}
    assert all(name.startswith("model._orig_mod.") for name in state)
    torch.save({"state_dict": state, "epoch": 3, "lr_schedulers": [], "loops": {"fit": {"n": 1}}}, tmp_path / "a.ckpt")
    backbone = models.squeezenet1_1(num_classes=3) if own_module else "squeezenet1_1"
    assert_same_network(load_backbone(backbone, tmp_path / "a.ckpt"), squeezenet)


def test_foreign_tensors_are_named_and_left_out_of_a_partial_load(squeezenet, tmp_path):
    content = under("module", squeezenet.state_dict()) | {"criterion.weight": torch.ones(3), "n": torch.tensor(1)}
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(
        WeightsMismatchError, match=r"1 unknown to the network \('criterion.weight'\), 1 single numbers .*'n'"
    ):
        load_backbone("squeezenet1_1", tmp_path / "a.pth")
    with pytest.warns(UserWarning, match="in part only.*Nothing of it is missing"):
        backbone = load_backbone("squeezenet1_1", tmp_path / "a.pth", match="partial")
    assert backbone.load_report.unexpected == ("criterion.weight",)
    assert backbone.load_report.counters == ("n",)
    assert backbone.load_report.loaded == len(squeezenet.state_dict())
    assert_same_network(backbone, squeezenet)


@pytest.fixture
def two_models(squeezenet, tmp_path):
    torch.manual_seed(1)
    average = models.squeezenet1_1(num_classes=3)
    torch.save({"model": squeezenet.state_dict(), "model_ema": average.state_dict()}, tmp_path / "two.pth")
    return tmp_path / "two.pth", squeezenet, average


def test_what_is_taken_of_a_file_is_part_of_the_path(two_models):
    path, plain, average = two_models
    with pytest.warns(UserWarning, match=rf"'model' was taken. Write '{path}::model_ema' for another one"):
        assert_same_network(load_backbone("squeezenet1_1", path), plain)
    for weights in (f"{path}::model_ema", Path(f"{path}::model_ema")):
        backbone = load_backbone("squeezenet1_1", weights)
        assert_same_network(backbone, average)
        assert backbone.weights == f"{path}::model_ema"
    with pytest.raises(WeightsError, match=r"Got 'ema2' instead. Name one of 'model', 'model_ema'"):
        load_backbone("squeezenet1_1", f"{path}::ema2")


def test_a_file_of_that_very_name_comes_first(two_models):
    path, plain, _ = two_models
    torch.save(plain.state_dict(), f"{path}::model_ema")
    assert_same_network(load_backbone("squeezenet1_1", f"{path}::model_ema"), plain)


def test_a_pickle_finds_the_part_of_a_file_again_where_it_has_moved(two_models, tmp_path, monkeypatch):
    path, _, average = two_models
    pickled = pickle.dumps(load_backbone("squeezenet1_1", f"{path}::model_ema"))
    assert len(pickled) < 2000
    (tmp_path / "elsewhere").mkdir()
    path.rename(tmp_path / "elsewhere" / "two.pth")
    monkeypatch.setenv("SKTL_WEIGHTS_DIR", str(tmp_path / "elsewhere"))
    _loading._loaded.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same_network(pickle.loads(pickled), average)


def test_a_part_of_a_safetensors_file_is_a_prefix(two_models, tmp_path):
    _, plain, average = two_models
    save_file(under("model", plain.state_dict()) | under("ema", average.state_dict()), tmp_path / "a.safetensors")
    assert_same_network(load_backbone("squeezenet1_1", f"{tmp_path / 'a.safetensors'}::ema"), average)


def test_a_file_of_many_networks_is_one_error_and_soon():
    content = {f"net{i}.{name}": each + i for i in range(200) for name, each in OWN.items()}
    with pytest.raises(WeightsError, match=r"Got several that fit equally well.*'net0', 'net1'") as caught:
        network_tensors(content, FILE, OWN)
    assert len(str(caught.value)) < 500
    assert torch.equal(network_tensors(content, FILE, OWN, "net3")["fc.bias"], OWN["fc.bias"] + 3)
