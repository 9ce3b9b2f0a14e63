"""A model file may come from anybody: whatever is in it, it is a model or one clear error, and nothing is executed."""

import copy
import json
import pickle
import sys

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sktl.backbones import list_backbones, load_backbone
from sktl.backbones._functional_modules import ImageNetToInception
from sktl.backbones.empty_networks import empty_chain
from sktl.exceptions import WeightsError, WeightsMismatchError, WeightsNotFoundError
from sktl.models import _loading
from sktl.models._format import read_record
from sktl.models._loading import load_model
from sktl.models._saving import describe_network


@pytest.fixture(params=["fine_tuned", "frozen"])
def parts(request, models):
    """Tensors and record of a good file, to be spoilt."""
    path = models[request.param]
    with safe_open(path, framework="pt") as file:
        return load_file(path), json.loads(file.metadata()["sktl"])


@pytest.fixture
def write(tmp_path):
    def write(tensors, record):
        path = tmp_path / "model.safetensors"
        text = record if isinstance(record, str) else json.dumps(record)
        save_file(tensors, path, metadata={"sktl": text})
        return path

    return write


def test_a_good_file_can_be_written_again_and_read(parts, write):
    assert load_model(write(*parts)).classes == ["ants", "bees"]


def changed(record, path, value):
    """The record with one field replaced, or left out for the value ...."""
    *folders, name = path.split(".")
    inner = record
    for folder in folders:
        inner = inner[folder]
    if value is ...:
        inner.pop(name)
    else:
        inner[name] = value
    return record


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("format", "pickle", "its format must be 'sktl model', and is 'pickle'"),
        ("format", ..., "its format must be 'sktl model', and is missing"),
        ("version", 2, "its format has the version 2, and this sktl reads version 1"),
        ("method", "exec", "method must be one of"),
        ("method", ["fine_tuned"], "method must be one of"),
        ("classes", ..., "classes must be a list of two or more different names, and is missing"),
        ("classes", ["ants", "ants"], "classes must be"),
        ("classes", ["ants"], "classes must be"),
        ("classes", ["ants", 3], "classes must be"),
        ("classes", "ab", "classes must be"),
        ("classes", ["ants", "\ud800"], "classes must be"),
        ("classes", ["ants", "bees", "cats"], "the tensors that its record describes"),
        ("backbone", ["tiny_fractal"], "backbone must be a dictionary"),
        ("backbone.name", "os.system", "backbone must be a name from list_backbones()"),
        ("backbone.name", "../../etc/passwd", "backbone must be a name from list_backbones()"),
        ("backbone.name", "resnet18", "the stages of resnet18 must be those of this sktl"),
        ("backbone.stages", ["stem", "stage1", "stage2", "stage3"], "the tensors that its record describes"),
        ("backbone.stages", [], "stages must be a list of names"),
        ("backbone.stages", {"stem": 1}, "stages must be a list of names"),
        ("backbone.image_size", 10**9, "image_size must be a whole number up to 2048"),
        ("backbone.transform_input", 1, "transform_input must be true or false"),
        ("backbone.license", "x" * 2000, "license must be a text"),
        ("preprocessing", None, "preprocessing must be a dictionary"),
        ("preprocessing.crop_size", 0, "crop_size must be a whole number up to 2048"),
        ("preprocessing.crop_size", 10**6, "crop_size must be a whole number up to 2048"),
        ("preprocessing.crop_size", 48.0, "crop_size must be a whole number up to 2048"),
        ("preprocessing.crop_size", True, "crop_size must be a whole number up to 2048"),
        ("preprocessing.resize_size", 10**7, "resize_size must be up to 4096"),
        ("preprocessing.interpolation", "lanczos", "interpolation must be one of"),
        ("preprocessing.mean", [0.5, 0.5], "mean must be three numbers"),
        ("preprocessing.mean", [0.5, 0.5, float("nan")], "mean must be three numbers"),
        ("preprocessing.mean", [0.5, 0.5, 10**400], "mean must be three numbers"),
        ("preprocessing.std", [0.5, 0.5, 0.0], "std must be positive"),
    ],
)
def test_every_field_that_predictions_depend_on_is_checked(parts, write, field, value, message):
    tensors, record = parts
    path = write(tensors, changed(record, field, value))
    with pytest.raises(WeightsError) as refusal:
        load_model(path)
    assert message in str(refusal.value)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("parts", ["fine_tuned"], indirect=True)
@pytest.mark.parametrize("value", [-1, 6, "1", None, 10**30])
def test_the_cut_of_a_fine_tuned_model_is_one_of_its_network(parts, write, value):
    tensors, record = parts
    with pytest.raises(WeightsError, match="n_frozen must be"):
        load_model(write(tensors, changed(record, "n_frozen", value)))


@pytest.mark.parametrize("parts", ["frozen"], indirect=True)
@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("pooling", "eval", "pooling must be one of"),
        ("pooling", "avg", "its network gives 384 features, and its linear model takes 768"),
        ("layers", ["stem", "stem"], "layers must be a list of names"),
        ("layers", ["__class__"], "layer must be 'penultimate', one of the stages"),
        ("layers", [0], "layers must be a list of names"),
    ],
)
def test_the_features_of_a_frozen_model_are_those_of_its_network(parts, write, field, value, message):
    tensors, record = parts
    with pytest.raises(WeightsError) as refusal:
        load_model(write(tensors, changed(record, field, value)))
    assert message in str(refusal.value) or "gives" in message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        '"sktl model"',
        "[" * 100_000,
        '{"format": "sktl model", "version": ' + "9" * 5000 + "}",
        "__import__('os').system('true')",
        "\x00",
    ],
)
def test_a_record_that_is_none_is_one_error(parts, write, text):
    with pytest.raises(WeightsError, match="must be a whole file written by sktl train"):
        read_record(write({"a": torch.zeros(1)}, text))


def test_a_record_of_any_length_is_not_read(write, monkeypatch):
    monkeypatch.setattr("sktl.models._format._MAX_RECORD", 1000)
    with pytest.raises(WeightsError, match="its record has 1002 characters"):
        read_record(write({"a": torch.zeros(1)}, json.dumps("x" * 1000)))


def test_tensors_are_those_that_the_record_describes(parts, write):
    tensors, record = parts
    first = next(name for name in tensors if name.endswith("conv1.weight"))
    for spoilt, message in [
        ({name: tensor for name, tensor in tensors.items() if name != first}, f"{first} is missing"),
        ({**tensors, "stages.more": torch.zeros(1)}, "stages.more is unexpected"),
        ({**tensors, "\x1b[31m" + "x" * 5000: torch.zeros(1)}, "\\x1b[31mxxx"),
        ({**tensors, first: tensors[first][:1].clone()}, f"{first} is F32 of shape (1, "),
        ({**tensors, first: tensors[first].half()}, f"{first} is F16 of shape"),
        ({**tensors, first: tensors[first].bool()}, f"{first} is BOOL of shape"),
        ({}, "is missing"),
    ]:
        with pytest.raises(WeightsMismatchError) as refusal:
            load_model(write(spoilt, record))
        assert message in str(refusal.value)
        assert len(str(refusal.value)) < 1000


def test_numbers_are_finite(parts, write):
    tensors, record = parts
    for name in [*(name for name in tensors if name.startswith(("head", "linear", "scaler"))), "stages.stem.0.weight"]:
        spoilt = {**tensors, name: torch.full_like(tensors[name], float("nan"))}
        with pytest.raises(WeightsError, match="must be finite"):
            load_model(write(spoilt, record))
    scale = next(name for name in tensors if name.endswith("r.scale") or name == "head.scale")
    with pytest.raises(WeightsError, match="scales must not be zero"):
        load_model(write({**tensors, scale: torch.zeros_like(tensors[scale])}, record))


def test_a_head_that_would_fill_the_memory_is_not_built(parts, write):
    """A vector of a few megabytes and a long list of names describe a matrix of terabytes."""
    tensors, record = parts
    vectors = [name for name in tensors if name.endswith(("mean", "scale")) and not name.startswith("stages")]
    spoilt = {**tensors, **{name: torch.ones(1_000_000) for name in vectors}}
    with pytest.raises(WeightsMismatchError):
        load_model(write(spoilt, changed(record, "classes", [str(i) for i in range(100_000)])))


@pytest.mark.parametrize(("name", "stage"), [("regnet_y_128gf", "block"), ("vit_h_14", "stage")])
def test_a_network_takes_no_memory_before_its_tensors_are_compared(parts, write, name, stage):
    tensors, record = parts
    stages = ["stem", *(f"{stage}{i}" for i in range(1, 5))]
    record["backbone"] |= {"name": name, "stages": stages, "image_size": 224}
    chain = empty_chain(record["backbone"])
    large = [tensor for tensor in chain.stages.state_dict().values() if tensor.numel() > 100_000]
    assert sum(tensor.numel() for tensor in large) > 500_000_000
    assert all(tensor.is_meta for tensor in large)
    with pytest.raises(WeightsMismatchError, match="the tensors that its record describes"):
        load_model(write(tensors, record))


@pytest.mark.parametrize(("crop_size", "expected"), [(32, 32), (384, 32), (768, 8), (2048, 1)])
def test_large_images_come_in_small_batches(parts, write, monkeypatch, crop_size, expected):
    """A file of a few megabytes may ask for the largest images that there are."""
    asked = []
    monkeypatch.setattr(_loading, "FrozenPart", lambda *parts, batch_size, **more: asked.append(batch_size))
    monkeypatch.setattr(
        _loading, "PretrainedFeatureExtractor", lambda *parts, batch_size, **more: asked.append(batch_size)
    )
    monkeypatch.setattr(_loading, "_check_width", lambda *of: None)  # computes with one image
    tensors, record = parts
    load_model(write(tensors, changed(record, "preprocessing.crop_size", crop_size)))
    assert asked == [expected]


@pytest.mark.parametrize("size", [1e30, 1e38])
def test_probabilities_are_numbers_or_one_error(parts, write, photos, size):
    """Weights that are finite, and too large to compute with."""
    tensors, record = parts
    paths = [str(path) for path in sorted(photos.rglob("*.png"))[:3]]
    for name in ("stages.stem.0.weight", next(name for name in tensors if name.startswith(("head", "linear")))):
        spoilt = {**tensors, name: torch.full_like(tensors[name], size)}
        try:
            ((_, probabilities, errors),) = load_model(write(spoilt, record)).predict(paths)
        except WeightsError as error:
            assert "must give probabilities that are numbers" in str(error)  # noqa: PT017
        else:
            assert np.isfinite(probabilities).all()
            assert errors == {}


def test_weights_too_large_to_compute_with_end_the_command_with_code_1(run_sktl, parts, write, photos):
    tensors, record = parts
    spoilt = {name: torch.full_like(tensor, 1e38) if tensor.ndim == 4 else tensor for name, tensor in tensors.items()}
    result = run_sktl("predict", write(spoilt, record), photos, "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: MODEL must give probabilities that are numbers. Got NaN for ")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are any bytes on Linux")
@pytest.mark.parametrize("parts", ["frozen"], indirect=True)
def test_a_class_may_have_the_name_of_any_folder(run_sktl, parts, write, photos, tmp_path):
    tensors, record = parts
    path = write(tensors, changed(record, "classes", ["\udcff", "\udcfe"]))
    result = run_sktl("predict", path, photos, "--csv", tmp_path / "table.csv")
    assert result.exit_code == 0, result.output
    assert b",\xff," in (tmp_path / "table.csv").read_bytes()


def test_a_damaged_file_is_one_error_wherever_it_was_cut(models, tmp_path):
    content = models["fine_tuned"].read_bytes()
    path = tmp_path / "cut.safetensors"
    for length in (0, 1, 8, 100, 5000, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(WeightsError, match="damaged or of another kind"):
            load_model(path)


def test_a_pickle_is_not_opened_as_one(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path / "sprung").touch, ()

    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(WeightsError, match="must be a safetensors file written by sktl train"):
        load_model(path)
    torch.save({"model": Trap()}, path)
    with pytest.raises(WeightsError, match="must be a safetensors file written by sktl train"):
        load_model(path)
    assert not (tmp_path / "sprung").exists()


def test_other_files_are_told_from_models(models, tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "weights.safetensors")
    with pytest.raises(WeightsError, match="holds tensors, but no record of a model"):
        load_model(tmp_path / "weights.safetensors")
    with pytest.raises(WeightsNotFoundError, match="Found none at"):
        load_model(tmp_path)
    (tmp_path / "mine.safetensors").write_bytes(models["frozen"].read_bytes())
    with pytest.raises(WeightsNotFoundError, match=r"Did you mean '.*mine\.safetensors'\?"):
        load_model(tmp_path / "mine")


@pytest.mark.parametrize("parts", ["frozen"], indirect=True)
def test_the_digest_in_a_record_does_not_find_vectors_of_another_network(parts, write, photos):
    """Otherwise a file could put its own vectors into the store under the name of a well-known network."""
    from sktl import PretrainedFeatureExtractor

    tensors, record = parts
    expected = PretrainedFeatureExtractor(layer="all", pooling="avg+std", cache=False)
    paths = [str(path) for path in sorted(photos.rglob("*.png"))[:3]]
    spoilt = {**tensors, "stages.stem.0.weight": tensors["stages.stem.0.weight"] * 2}
    list(load_model(write(spoilt, record)).predict(paths))
    vectors = PretrainedFeatureExtractor(layer="all", pooling="avg+std").fit(paths).transform(paths)
    assert (vectors == expected.fit(paths).transform(paths)).all()


SMALL = ("mobilenet_v3_small", "squeezenet1_1", "shufflenet_v2_x0_5", "googlenet", "swin_t", "regnet_y_400mf")


@pytest.mark.parametrize("name", SMALL)
def test_networks_of_torchvision_are_rebuilt_from_their_tensors(name):
    backbone = load_backbone(name, None)
    chain = empty_chain(describe_network(backbone))
    chain.stages.load_state_dict(backbone.stages.state_dict(), assign=True)
    assert chain.own_pooling == backbone.own_pooling
    assert repr(chain.stages) == repr(backbone.stages)
    image = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(chain.stages.eval()(image), backbone.stages(image))


def test_a_network_that_changes_the_normalisation_of_its_input_does_so_again():
    described = describe_network(load_backbone("googlenet", None))
    assert described["transform_input"] is False
    kinds = [
        [type(part) for part in empty_chain({**described, "transform_input": wanted}).stages.modules()]
        for wanted in (False, True)
    ]
    assert [ImageNetToInception in found for found in kinds] == [False, True]


@pytest.mark.slow
@pytest.mark.parametrize("name", list_backbones())
def test_every_network_is_rebuilt_from_its_tensors(name):
    backbone = load_backbone(name, None)
    chain = empty_chain(describe_network(backbone))
    chain.stages.load_state_dict(backbone.stages.state_dict(), assign=True)
    assert not any(tensor.is_meta for tensor in [*chain.stages.parameters(), *chain.stages.buffers()])
    size = backbone.preprocessing.crop_size
    image = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(chain.stages.eval()(image), backbone.stages(image))


def leaves(record, path=""):
    for name, value in record.items():
        inner = f"{path}.{name}" if path else name
        yield inner
        if isinstance(value, dict) and name in ("backbone", "preprocessing"):
            yield from leaves(value, inner)


@pytest.mark.parametrize("value", [..., None, [], {}, [None], "x", "", -1, 0, 1e308, True, [[["x"]]]])
def test_any_value_in_any_field_is_a_model_or_one_error(parts, write, value):
    tensors, record = parts
    for field in leaves(record):
        try:
            load_model(write(tensors, changed(copy.deepcopy(record), field, value)))
        except WeightsError as error:
            assert "MODEL must" in str(error), field  # noqa: PT017


def test_any_byte_of_the_header_may_be_wrong(models, tmp_path):
    content = models["frozen"].read_bytes()
    n_header = 8 + int.from_bytes(content[:8], "little")
    random = np.random.default_rng(0)
    path = tmp_path / "model.safetensors"
    for position in random.integers(0, n_header, 60):
        spoilt = bytearray(content)
        spoilt[position] = random.choice([*b'0123456789"{}[],:-eE.', *range(0, 256, 16)])
        path.write_bytes(spoilt)
        try:
            load_model(path)
        except WeightsError as error:
            assert "MODEL must" in str(error)  # noqa: PT017
