"""Networks in other forms than a plain module: those in a wrapper are taken out of it, all others refused by name."""

import pickle
from functools import partial

import pytest
import torch
from torch import nn

from sktl.backbones import Preprocessing, load_backbone

SMALL = Preprocessing(crop_size=16)
IMAGES = torch.zeros(1, 3, 16, 16)


def network():
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    return nn.Sequential(body, nn.Conv2d(4, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2)).eval()


def with_compiled_part():
    module = network()
    module[0] = torch.compile(nn.DataParallel(module[0]))
    return module


def compiled_in_place():
    module = network()
    module.compile()
    return module


WRAPPED = {
    "torch.compile": lambda: torch.compile(network()),
    "compile in place": compiled_in_place,
    "DataParallel": lambda: nn.DataParallel(network()),
    "AveragedModel": lambda: torch.optim.swa_utils.AveragedModel(network()),
    "several": lambda: torch.compile(nn.DataParallel(torch.optim.swa_utils.AveragedModel(network()))),
    "a part": with_compiled_part,
}


@pytest.mark.parametrize("make", WRAPPED.values(), ids=WRAPPED)
def test_a_network_in_a_wrapper_is_the_network(make):
    plain = load_backbone(network(), preprocessing=SMALL)
    module = make()
    names = set(module.state_dict())
    backbone = load_backbone(module, preprocessing=SMALL)
    assert backbone.digest == plain.digest
    assert backbone.name == plain.name
    assert set(module.state_dict()) == names  # what was passed is left as it is
    assert load_backbone(make, preprocessing=SMALL).digest == plain.digest
    assert pickle.loads(pickle.dumps(backbone)).digest == plain.digest


def test_stages_of_a_wrapped_network_go_by_the_names_inside():
    stages = [("stem", "0"), ("top", "1")]
    for module in (torch.compile(network()), with_compiled_part()):
        assert load_backbone(module, preprocessing=SMALL, stages=stages).stage_names == ("stem", "top")


def with_scripted_part():
    module = network()
    module[0] = torch.jit.script(module[0])
    return module


def with_quantized_tensor():
    module = network()
    module.register_buffer("table", torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8))
    return module


def traced():
    return torch.jit.trace(network(), IMAGES)


def exported():
    return torch.export.export(network(), (IMAGES,))


def quantized():
    return torch.ao.quantization.quantize_dynamic(network(), {nn.Linear}, dtype=torch.qint8)


REFUSED = {
    "scripted": (
        lambda: torch.jit.script(network()),
        "a TorchScript module instead. Pass the module that was scripted",
    ),
    "traced": (traced, "a TorchScript module instead"),
    "a scripted part": (with_scripted_part, "a TorchScript module at '0' instead"),
    "exported": (exported, "a program of torch.export instead. Pass the module that was exported"),
    "module of an exported program": (lambda: exported().module(), "a program of torch.export instead"),
    "quantized": (quantized, "quantized weights at '4' instead. Pass the network as it was"),
    "quantized tensor": (with_quantized_tensor, "quantized weights instead"),
    "tensors": (lambda: network().state_dict(), r"a dictionary of tensors instead. Build the network.*load_state_dict"),
}


@pytest.mark.filterwarnings("ignore")  # of torch, which gives up some of these forms itself
@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("by_function", [False, True])
def test_networks_in_other_forms_are_refused_by_name(make, message, by_function):
    made = make()
    backbone = partial(lambda made: made, made) if by_function else made
    with pytest.raises(TypeError, match=f"torch.nn.Module that computes in floats.* Got {message}"):
        load_backbone(backbone, preprocessing=SMALL)


@pytest.mark.parametrize(
    ("origin", "kind"),
    [
        ("keras.src.models.functional", "a network of Keras"),
        ("tensorflow.python.keras", "a network of TensorFlow"),
        ("flax.linen.module", "a network of Flax"),
        ("openvino.runtime", "a network of OpenVINO"),
    ],
)
def test_networks_of_other_libraries_are_refused_by_name(origin, kind):
    base = type("Model", (), {"__module__": origin, "__call__": lambda self, images: images})
    derived = type("Mine", (base,), {"__module__": "__main__"})
    for backbone in (base(), derived(), partial(derived)):
        with pytest.raises(TypeError, match=rf"Got {kind} instead\. Build the network in torch"):
            load_backbone(backbone)


def test_a_network_in_onnx_is_refused_by_name(tmp_path):
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    other = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "net", [value], [other])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    with pytest.raises(TypeError, match="Got a network in ONNX instead"):
        load_backbone(model)
    with pytest.raises(TypeError, match=r"Got a session of ONNX Runtime instead.*engine='onnxruntime'"):
        load_backbone(runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]))


def test_a_net_of_skorch_is_refused_with_the_way_to_its_module():
    net = pytest.importorskip("skorch").NeuralNet(nn.Linear, nn.MSELoss)
    with pytest.raises(TypeError, match=r"Got a net of skorch instead\. Pass the module inside: net\.module_"):
        load_backbone(net)
