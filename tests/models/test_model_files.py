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
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktl import PretrainedFeatureExtractor
from sktl.backbones import list_backbones, load_backbone
from sktl.backbones.descriptions import describe_network
from sktl.backbones.empty_networks import empty_chain
from sktl.exceptions import WeightsError, WeightsMismatchError, WeightsNotFoundError
from sktl.images import load_image_folder
from sktl.models import load_model, save_model
from sktl.models._format import digest_of, read_record
from sktl.stages._functional_modules import ImageNetToInception


@pytest.fixture(scope="module")
def scaled(photos, tmp_path_factory):
    """The model file of a pipeline with a scaler."""
    path, folder = tmp_path_factory.mktemp("models") / "scaled.safetensors", load_image_folder(photos)
    extractor = PretrainedFeatureExtractor(layer="all", pooling="avg+std", cache=False)
    model = make_pipeline(extractor, StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    save_model(model.fit(folder.images, np.array(folder.target_names)[folder.target]), path)
    return path


@pytest.fixture(params=["fine_tuned", "frozen"])
def parts(request, models):
    """Tensors and record of a good file, to be spoilt."""
    path = models.get(request.param) or request.getfixturevalue(request.param)
    with safe_open(path, framework="pt") as file:
        return load_file(path), json.loads(file.metadata()["sktl"])


@pytest.fixture
def write(tmp_path):
    """Write tensors and a record with the digest that belongs to them, as whoever makes a file up would."""

    def write(tensors, record):
        path = tmp_path / "model.safetensors"
        whole = isinstance(record, dict) and isinstance(record.get("digest"), str)
        record = {**record, "digest": digest_of(record, tensors)} if whole else record
        text = record if isinstance(record, str) else json.dumps(record)
        save_file(tensors, path, metadata={"sktl": text})
        return path

    return write


@pytest.mark.parametrize("parts", ["fine_tuned", "frozen", "scaled"], indirect=True)
def test_a_good_file_can_be_written_again_and_read(parts, write):
    assert load_model(write(*parts)).classes_.tolist() == ["ants", "bees"]


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
        ("format", "pickle", "its record must be that of a 'sktl model'"),
        ("format", ..., "its record must be that of a 'sktl model'"),
        ("version", 3, "this sktl reads the versions 1 and 2 of the format"),
        ("digest", None, "digest must be a text"),
        ("kind", "exec", "kind must be one of"),
        ("kind", ["Pipeline"], "kind must be one of"),
        ("targets", ..., "targets must be a dictionary, and is missing"),
        ("targets.classes", ..., "classes must be two or more different labels, and is missing"),
        ("targets.classes.values", ["ants", "ants"], "classes must be"),
        ("targets.classes.values", ["ants"], "classes must be"),
        ("targets.classes.values", ["ants", 3], "classes must be"),
        ("targets.classes.values", "ab", "classes must be"),
        ("targets.classes.values", ["ants", "\ud800"], "classes must be"),
        ("targets.classes.values", ["ants", "bees", "cats"], "the tensors that its record describes"),
        ("targets.classes.dtype", "U3", "classes must be"),
        ("targets.classes.dtype", "U999999999", "classes must be"),
        ("targets.classes.dtype", "V8", "classes must be"),
        ("targets.classes.dtype", "i1", "classes must be"),
        ("targets.classes", [{"dtype": "i8", "values": [0, 1]}], "classes must be"),
        ("targets.classes", [{"dtype": "i8", "values": [0, 1]}, {"dtype": "i8", "values": [0]}], "classes must be"),
        ("targets.multilabel", 0, "multilabel must be true or false"),
        ("backbone", ["tiny_fractal"], "backbone must be a dictionary"),
        ("backbone.name", "os.system", "the parameter backbone must be 'os.system'"),
        ("backbone.name", "../../etc/passwd", "the parameter backbone must be"),
        ("backbone.stages", ["stem", "stage1", "stage2", "stage3"], "the tensors that its record describes"),
        ("backbone.stages", [], "stages must be a list of names"),
        ("backbone.stages", {"stem": 1}, "stages must be a list of names"),
        ("backbone.image_size", 10**9, "image_size must be a whole number up to 2048"),
        ("backbone.transform_input", 1, "transform_input must be true or false"),
        ("backbone.license", "x" * 2000, "license must be a text"),
        ("backbone.preprocessing", None, "preprocessing must be a dictionary"),
        ("backbone.preprocessing.crop_size", 0, "crop_size must be a whole number up to 2048"),
        ("backbone.preprocessing.crop_size", 10**6, "crop_size must be a whole number up to 2048"),
        ("backbone.preprocessing.crop_size", 48.0, "crop_size must be a whole number up to 2048"),
        ("backbone.preprocessing.crop_size", True, "crop_size must be a whole number up to 2048"),
        ("backbone.preprocessing.resize_size", 10**7, "resize_size must be up to 4096"),
        ("backbone.preprocessing.interpolation", "lanczos3", "interpolation must be one of"),
        ("backbone.preprocessing.mean", [0.5, 0.5], "mean must be three numbers"),
        ("backbone.preprocessing.mean", [0.5, 0.5, float("nan")], "mean must be three numbers"),
        ("backbone.preprocessing.mean", [0.5, 0.5, 10**400], "mean must be three numbers"),
        ("backbone.preprocessing.std", [0.5, 0.5, 0.0], "std must be positive"),
        ("input.fitted_on", "files", "fitted_on must be 'images' or 'rows'"),
        ("input.n_features_in", 0, "n_features_in must be a number of columns"),
        ("input.feature_names_in", ["a"], "feature_names_in must be None names"),
        ("input.value_range", [1, 0], "value_range must be two numbers in ascending order"),
        ("input.value_range", [0, float("inf")], "value_range must be"),
        ("input.more", 1, "unexpected keyword argument 'more'"),
        ("parameters.cache", "/etc", "parameters must be parameters that a file may set"),
        ("parameters.device", "cuda:7", "parameters must be parameters that a file may set"),
        ("parameters.weights", "../secret.pth", "the parameter weights must be a name"),
        ("parameters.weights", ["default"], "the parameter weights must be a name"),
        ("parameters.image_size", 4096, "the parameter image_size must be a whole number up to 2048"),
        ("parameters.image_size", 2048, "resize_size must be up to 4096"),
        ("parameters.batch_size", 0, "The 'batch_size' parameter"),
        ("parameters.random_state", "x", "The 'random_state' parameter"),
        ("parameters.image_shape", {"exec": []}, "parameters must be parameters that a file may set"),
        ("parameters.image_shape", [[[[[[1]]]]]], "parameters must be parameters that a file may set"),
        ("parameters.get_params", 1, "in this version. Got 'get_params' too"),
    ],
)
def test_every_field_that_predictions_depend_on_is_checked(parts, write, field, value, message):
    tensors, record = parts
    if value == 2048:
        record["backbone"]["preprocessing"] |= {"crop_size": 100, "resize_size": 256}
    path = write(tensors, changed(record, field, value))
    with pytest.raises(WeightsError) as refusal:
        load_model(path)
    assert message in str(refusal.value)
    assert str(path) in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("parts", ["fine_tuned"], indirect=True)
@pytest.mark.parametrize(
    ("multilabel", "message"), [(False, "the tensors that its record describes"), (True, "multilabel must be false")]
)
def test_columns_of_labels_must_fit_the_network(parts, write, multilabel, message):
    tensors, record = parts
    record["targets"] = {"classes": [{"dtype": "i8", "values": [0, 1]}] * 2, "multilabel": multilabel}
    with pytest.raises(WeightsError, match=message):
        load_model(write(tensors, record))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("os.system", "backbone must be a name from list_backbones()"),
        ("../../etc/passwd", "backbone must be a name from list_backbones()"),
        ("resnet18", "the stages of resnet18 must be those of this sktl"),
    ],
)
def test_the_network_is_one_that_this_sktl_knows(parts, write, name, message):
    tensors, record = parts
    record["backbone"]["name"] = record["parameters"]["backbone"] = name
    with pytest.raises(WeightsError) as refusal:
        load_model(write(tensors, record))
    assert message in str(refusal.value)


@pytest.mark.parametrize("parts", ["fine_tuned"], indirect=True)
@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("unfreeze_depth", 6, "unfreeze_depth must be at most 5"),
        ("unfreeze_depth", -1, "unfreeze_depth must be a whole number"),
        ("unfreeze_depth", "1", "unfreeze_depth must be a whole number"),
        ("head", "deep", "head must be 'linear' or a list of widths"),
        ("head", [0], "head must be"),
        ("head", [10**9], "the tensors that its record describes"),
        ("dropout", 1.0, "dropout must be a number from 0 to 1"),
        ("preprocessing.crop_size", 10**6, "crop_size must be a whole number up to 2048"),
        ("value_range_is_learned", None, "value_range_is_learned must be true or false"),
        ("seed", 2**31, "seed must be a seed"),
        ("n_trainings", 0, "n_trainings must be a whole number"),
    ],
)
def test_what_training_has_fixed_is_checked(parts, write, field, value, message):
    tensors, record = parts
    with pytest.raises(WeightsError) as refusal:
        load_model(write(tensors, changed(record, f"fit.{field}", value)))
    assert message in str(refusal.value)


@pytest.mark.parametrize("parts", ["frozen"], indirect=True)
@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("steps", ["a", "b", "c"], "steps must be 2 names"),
        ("scaler", {}, "steps must be 3 names"),
        ("linear.type", "LinearProbeRegressor", "n_targets must be a number of targets, or none, and is missing"),
        ("linear.parameters", {"class_weight": "even"}, "The 'class_weight' parameter of LinearProbeClassifier"),
        ("linear.parameters", {"C": 1.0}, "the parameters must be those of LinearProbeClassifier"),
        ("linear.intercept", "number", "linear.intercept is F64 of shape (1,) instead of F64 of shape ()"),
    ],
)
def test_the_probe_of_a_frozen_model_is_that_of_its_file(parts, write, field, value, message):
    tensors, record = parts
    with pytest.raises(WeightsError) as refusal:
        load_model(write(tensors, changed(record, field, value)))
    assert message in str(refusal.value)


@pytest.mark.parametrize("parts", ["scaled"], indirect=True)
@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("parameters.pooling", "eval", "The 'pooling' parameter"),
        ("parameters.pooling", "avg", "its network gives 384 features, and its linear model takes 768"),
        ("layers", ["stem", "stem"], "layers must be a list of names"),
        ("layers", ["__class__"], "layer must be 'penultimate', one of the stages"),
        ("layers", [0], "layers must be a list of names"),
        ("steps", ["a", "b"], "steps must be 3 names"),
        ("steps", ["a", "b__c", "d"], "steps must be 3 names"),
        ("steps", ["a", "memory", "d"], "steps must be 3 names"),
        ("scaler", {"copy": "no"}, "The 'copy' parameter of StandardScaler"),
        ("scaler", None, "steps must be 2 names"),
        ("linear.type", "SVC", "type must be one of"),
        ("linear.type", "Ridge", "n_targets must be a number of targets, or none, and is missing"),
        ("linear.parameters", {"C": -1.0}, "The 'C' parameter of LogisticRegression"),
        ("linear.parameters", {"verbose": 1}, "parameters must be parameters that a file may set"),
        ("linear.order", "K", "order must be 'C' or 'F'"),
        ("linear.intercept", "none", "linear.intercept is unexpected"),
        ("linear.intercept", "number", " of shape (1,) instead of F"),  # of 4 or 8 bytes, by release of scikit-learn
    ],
)
def test_the_steps_of_a_frozen_model_are_those_of_its_file(parts, write, field, value, message):
    tensors, record = parts
    with pytest.raises(WeightsError) as refusal:
        load_model(write(tensors, changed(record, field, value)))
    assert message in str(refusal.value)


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
    with pytest.raises(WeightsError, match="must be a model file"):
        read_record(write({"a": torch.zeros(1)}, text))


def test_a_record_of_any_length_is_not_read(write, monkeypatch):
    monkeypatch.setattr("sktl.models._format._MAX_RECORD", 1000)
    with pytest.raises(WeightsError, match="its record has 1002 characters"):
        read_record(write({"a": torch.zeros(1)}, json.dumps("x" * 1000)))


@pytest.mark.parametrize("parts", ["fine_tuned"], indirect=True)
def test_a_file_that_is_older_than_the_average_is_of_the_trained_network_alone(parts, write):
    tensors, record = parts
    record = copy.deepcopy(record)
    record["fit"].pop("probe")
    record["parameters"].pop("ensemble", None)
    model = load_model(write({name: values for name, values in tensors.items() if name[:6] != "probe."}, record))
    assert not model.ensemble
    assert model.module_.probe is None


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


@pytest.mark.parametrize("parts", ["fine_tuned", "frozen", "scaled"], indirect=True)
def test_numbers_are_finite(parts, write):
    tensors, record = parts
    for name in [*(name for name in tensors if name.startswith(("head", "linear", "scaler"))), "stages.stem.0.weight"]:
        spoilt = {**tensors, name: torch.full_like(tensors[name], float("nan"))}
        with pytest.raises(WeightsError, match="must be finite"):
            load_model(write(spoilt, record))
    for scale in (name for name in tensors if name in ("scaler.scale", "head.scale")):
        with pytest.raises(WeightsError, match="scales must not be zero"):
            load_model(write({**tensors, scale: torch.zeros_like(tensors[scale])}, record))


def test_a_network_that_makes_nan_of_a_trial_image_is_none(parts, write):
    tensors, record = parts
    name = "stages.stage2.bn1.running_var"
    with pytest.raises(WeightsError, match=r"its predictions must be finite\. Got NaN or infinity for a trial image"):
        load_model(write({**tensors, name: -torch.ones_like(tensors[name])}, record))


def test_a_head_that_would_fill_the_memory_is_not_built(parts, write):
    """A vector of a few megabytes and a long list of names describe a matrix of terabytes."""
    tensors, record = parts
    vectors = [name for name in tensors if name.endswith(("mean", "scale")) and not name.startswith("stages")]
    spoilt = {**tensors, **{name: torch.ones(1_000_000) for name in vectors}}
    with pytest.raises(WeightsMismatchError):
        load_model(
            write(
                spoilt, changed(record, "targets.classes", {"dtype": "U5", "values": [str(i) for i in range(100_000)]})
            )
        )


@pytest.mark.parametrize(("name", "stage"), [("regnet_y_128gf", "block"), ("vit_h_14", "stage")])
def test_a_network_takes_no_memory_before_its_tensors_are_compared(parts, write, name, stage):
    tensors, record = parts
    stages = ["stem", *(f"{stage}{i}" for i in range(1, 5))]
    record["backbone"] |= {"name": name, "stages": stages, "image_size": 224}
    record["parameters"]["backbone"] = name
    chain = empty_chain(record["backbone"])
    large = [tensor for tensor in chain.stages.state_dict().values() if tensor.numel() > 100_000]
    assert sum(tensor.numel() for tensor in large) > 500_000_000
    assert all(tensor.is_meta for tensor in large)
    with pytest.raises(WeightsMismatchError, match="the tensors that its record describes"):
        load_model(write(tensors, record))


def test_a_file_asks_for_no_more_images_at_a_time_than_the_largest_do_by_default(parts, write):
    tensors, record = parts
    record["parameters"]["batch_size"] = 10**9
    model = load_model(write(tensors, record))
    assert getattr(model, "steps", [("", model)])[0][1].batch_size == 32 * 2048**2 // 48**2


@pytest.mark.parametrize("size", [1e30, 1e38])
def test_predictions_are_numbers_or_one_error(parts, write, photos, size):
    """Weights that are finite, and too large to compute with."""
    tensors, record = parts
    paths = [str(path) for path in sorted(photos.rglob("*.png"))[:3]]
    for name in ("stages.stem.0.weight", next(name for name in tensors if name.startswith(("head", "linear")))):
        spoilt = {**tensors, name: torch.full_like(tensors[name], size)}
        try:
            probabilities = load_model(write(spoilt, record)).predict_proba(paths)
        except WeightsError as error:
            assert "its numbers must be finite" in str(error)  # noqa: PT017
        else:
            assert np.isfinite(probabilities).all()


def test_weights_too_large_to_compute_with_end_the_command_with_code_1(run_sktl, parts, write, photos):
    tensors, record = parts
    spoilt = {name: torch.full_like(tensor, 1e38) if tensor.ndim == 4 else tensor for name, tensor in tensors.items()}
    result = run_sktl("predict", write(spoilt, record), photos, "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "its numbers must be finite" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_probabilities_that_are_no_numbers_are_an_error_of_the_command():
    """A network may come through its trial image and fail at another one."""
    from sktl.cli._answers import ClassAnswers
    from sktl.cli._predict import _finite_outputs

    class Model:
        classes_ = ("a", "b")

        def predict_proba(self, paths):
            return np.array([[0.5, 0.5], [np.nan, np.nan]])

    with pytest.raises(WeightsError, match=r"MODEL must give probabilities that are numbers\. Got NaN for 'b\.png'"):
        _finite_outputs(ClassAnswers(Model(), top=1, proba=False), ["a.png", "b.png"])


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are any bytes on Linux")
@pytest.mark.parametrize("parts", ["frozen"], indirect=True)
def test_a_class_may_have_the_name_of_any_folder(run_sktl, parts, write, photos, tmp_path):
    tensors, record = parts
    path = write(tensors, changed(record, "targets.classes.values", ["\udcff", "\udcfe"]))
    result = run_sktl("predict", path, photos, "--csv", tmp_path / "table.csv")
    assert result.exit_code == 0, result.output
    assert rb",\udcff," in (tmp_path / "table.csv").read_bytes()


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
    with pytest.raises(WeightsError, match="cannot be read as a safetensors file"):
        load_model(path)
    torch.save({"model": Trap()}, path)
    with pytest.raises(WeightsError, match="cannot be read as a safetensors file"):
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
    tensors, record = parts
    expected = PretrainedFeatureExtractor(layer="all", pooling="avg+std", cache=False)
    paths = [str(path) for path in sorted(photos.rglob("*.png"))[:3]]
    spoilt = {**tensors, "stages.stem.0.weight": tensors["stages.stem.0.weight"] * 2}
    load_model(write(spoilt, record)).predict(paths)
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
@pytest.mark.parametrize("name", [name for name in list_backbones() if "/" not in name])
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
        if isinstance(value, dict) and name not in ("metadata", "versions"):
            yield from leaves(value, inner)


VALUES = (None, [], {}, [None], "x", "", 0, -1, True, [[["x"]]])
SLOWLY = [pytest.param(value, marks=pytest.mark.slow) for value in VALUES]


@pytest.mark.parametrize("value", [..., 1e308, *SLOWLY])
def test_any_value_in_any_field_is_a_model_or_one_error(parts, write, value):
    tensors, record = parts
    for field in leaves(record):
        try:
            load_model(write(tensors, changed(copy.deepcopy(record), field, value)))
        except WeightsError as error:
            assert "path must be a model file" in str(error), field  # noqa: PT017


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
            assert "path must be a model file" in str(error)  # noqa: PT017


def damaged(content, rng):
    """One of many ways in which a file is not what it was."""
    spoilt, n_header = bytearray(content), 8 + int.from_bytes(content[:8], "little")
    kind = rng.integers(5)
    if kind == 0:
        return content[: rng.integers(len(content))]
    if kind == 1:
        start = rng.integers(len(content))
        return content[:start] + rng.bytes(rng.integers(1, 64)) + content[start:]
    stop = n_header if kind == 2 else len(content)
    for position in rng.integers(0 if kind < 4 else n_header, stop, rng.integers(1, 8)):
        spoilt[position] = rng.choice([*b'0123456789"{}[],:-eE.', *range(256)])
    return bytes(spoilt)


def made_up(parts, rng):
    """A record and tensors of which some are others, with the digest that belongs to them."""
    tensors, record = copy.deepcopy(parts)
    values = [None, [], {}, "x", -1, 0, 1, 2, 1e308, True, [1, 2], 10**30, "stage1", "Ridge", "F", ["a", "b"], 0.5]
    if rng.random() < 0.5:
        changed(record, rng.choice(list(leaves(record))), values[rng.integers(len(values))])
    else:
        name = rng.choice(sorted(name for name in tensors if tensors[name].is_floating_point()))
        numbers = tensors[name].flatten()
        numbers[rng.integers(len(numbers))] = rng.choice([0.0, -1.0, 1e3, 1e20, 1e38, np.inf, np.nan])
        tensors[name] = numbers.reshape(tensors[name].shape)
    return tensors, record


@pytest.mark.slow
@pytest.mark.parametrize("n_files", [1000])
def test_a_thousand_damaged_and_made_up_files_of_each_kind_are_models_or_errors(parts, write, models, photos, n_files):
    paths = [str(path) for path in sorted(photos.rglob("*.png"))[:2]]
    method = "frozen" if parts[1]["kind"] == "Pipeline" else "fine_tuned"
    content, rng, found = models[method].read_bytes(), np.random.default_rng(0), {"error": 0, "model": 0}
    for i in range(n_files):
        if i % 2:
            path = write(*made_up(parts, rng))
        else:
            path = models[method].with_name("damaged.safetensors")
            path.write_bytes(damaged(content, rng))
        try:
            model = load_model(path)
        except WeightsError:
            found["error"] += 1
            continue
        found["model"] += 1
        assert np.isfinite(model.predict_proba(paths)).all()
    print(method, found)
    assert found["error"] > n_files / 2
