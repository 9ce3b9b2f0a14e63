"""Networks of transformers are cut into stages whose pooled output is what transformers computes."""

import copy
import json
import pickle
import shutil
import sys
import threading
import time
import warnings

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")

from sklearn.base import clone
from sklearn.model_selection import cross_val_predict
from tiny_transformers import BASE_MODELS, CLASSIFIERS, saved, tiny

from sktl import FineTuneClassifier, PretrainedFeatureExtractor
from sktl.backbones import Preprocessing, load_backbone, pool
from sktl.backbones.sources._transformers import network_of, quiet, transformers
from sktl.datasets import make_fractals
from sktl.exceptions import WeightsError, WeightsMismatchError, WeightsNotFoundError
from sktl.models import load_model, save_model

pytestmark = pytest.mark.filterwarnings("ignore:.*says nothing about the preprocessing")
QUICK = {"ViTModel", "ConvNextForImageClassification", "SiglipVisionModel"}
QUICK |= {"DeiTForImageClassificationWithTeacher"}  # of two classifiers


def marked(names):
    return [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in names]


def features_of(backbone, images):
    with torch.no_grad():
        return pool(backbone.stages(images), "auto", backbone.own_pooling)


def images_for(backbone, n_images=3):
    size = backbone.preprocessing.crop_size
    return torch.randn((n_images, 3, size, size), generator=torch.Generator().manual_seed(1))


def own_features(network, images):
    """Return what the documentation says that the features of a base model are."""
    with torch.no_grad():
        output = network(pixel_values=images)
    has_dense_pooler = type(network).__name__ in ("ViTModel", "DeiTModel", "ViTMSNModel", "IJepaModel")
    pooled = None if has_dense_pooler else output.get("pooler_output")
    if pooled is not None:
        return pooled.flatten(1)
    last = output.last_hidden_state
    has_class_token = any(name.endswith("cls_token") for name, _ in network.named_parameters())
    return last.mean((2, 3)) if last.ndim == 4 else last[:, 0] if has_class_token else last.mean(1)


def check_stages(backbone):
    """Check that there are stages enough, and that none of them is nearly the whole."""
    n_weights = [sum(parameter.numel() for parameter in stage.parameters()) for stage in backbone.stages]
    assert len(n_weights) >= 3
    assert n_weights[-1] < 0.6 * sum(n_weights)


@pytest.mark.parametrize("name", marked(BASE_MODELS))
def test_features_of_a_base_model_are_its_pooled_output(name, tmp_path):
    network = saved(name, tmp_path / "network")
    backbone = load_backbone(tmp_path / "network")
    images = images_for(backbone)
    torch.testing.assert_close(features_of(backbone, images), own_features(network, images), rtol=1e-5, atol=1e-6)
    assert backbone.head is None
    assert backbone.n_features == features_of(backbone, images).shape[1]
    check_stages(backbone)


@pytest.mark.slow
@pytest.mark.parametrize("name", BASE_MODELS)
def test_networks_of_every_family_are_trained_pickled_cloned_and_drawn_anew(name, tmp_path):
    saved(name, tmp_path / "network")
    folder = str(tmp_path / "network")
    images, target = make_fractals(6, n_classes=2, random_state=0)
    options = {"max_epochs": 1, "augment": None, "random_state": 0}
    record = load_backbone(folder)
    before = record.stages.state_dict()
    for depth in (0, 1, "all"):
        model = FineTuneClassifier(folder, unfreeze_depth=depth, **options).fit(images, target)
        after = model.__sktl_backbone__().stages.state_dict()
        frozen = record.stage_names[: {0: len(record.stages), 1: -1, "all": 0}[depth]]
        assert all(torch.equal(after[key], before[key]) for key in after if key.split(".")[0] in frozen)
        expected = model.predict_proba(images)
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(images), expected)
        again = clone(model).fit(images, target)
        np.testing.assert_array_equal(again.predict_proba(images), expected)
    twins = [load_backbone(folder, None, random_state=seed).digest for seed in (5, 5, 6)]
    assert record.digest != twins[0] == twins[1] != twins[2]
    scratch = FineTuneClassifier(folder, weights=None, **options).fit(images, target)
    assert np.isfinite(scratch.predict_proba(images)).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", BASE_MODELS)
def test_folds_in_two_processes_give_the_same_probabilities(name, tmp_path):
    saved(name, tmp_path)
    images, target = make_fractals(8, n_classes=2, random_state=0)
    model = FineTuneClassifier(str(tmp_path), unfreeze_depth=1, max_epochs=1, random_state=0)
    one, two = (
        cross_val_predict(model, images, target, cv=2, n_jobs=n_jobs, method="predict_proba") for n_jobs in (1, 2)
    )
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("name", marked(CLASSIFIERS))
def test_the_head_on_the_features_of_a_classifier_gives_its_scores(name, tmp_path):
    network = saved(name, tmp_path / "network")
    backbone = load_backbone(tmp_path / "network")
    images = images_for(backbone)
    features = features_of(backbone, images)
    with torch.no_grad():
        expected = network(pixel_values=images).logits
        torch.testing.assert_close(backbone.head(features), expected, rtol=1e-5, atol=1e-6)
    assert features.shape[1] > expected.shape[1]
    check_stages(backbone)


@pytest.mark.parametrize("name", ["CLIPModel", pytest.param("SiglipModel", marks=pytest.mark.slow)])
def test_of_a_network_for_images_and_text_the_image_tower_is_taken(name, tmp_path):
    network = saved(name, tmp_path)
    backbone = load_backbone(tmp_path)
    images = images_for(backbone)
    with torch.no_grad():
        expected = network.vision_model(pixel_values=images).pooler_output
    torch.testing.assert_close(features_of(backbone, images), expected, rtol=1e-5, atol=1e-6)


def test_of_a_masked_autoencoder_the_class_token_is_taken_of_all_patches(tmp_path):
    network = saved("ViTMAEForPreTraining", tmp_path, mask_ratio=0.0)
    backbone = load_backbone(tmp_path)
    images = images_for(backbone)
    with torch.no_grad():
        expected = network.vit(pixel_values=images).last_hidden_state[:, 0]
    torch.testing.assert_close(features_of(backbone, images), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["ViTModel", pytest.param("LevitModel", marks=pytest.mark.slow)])
def test_stages_train_as_the_network_does(name, tmp_path):
    network = saved(name, tmp_path)
    backbone = load_backbone(tmp_path)
    images = images_for(backbone)
    stages = copy.deepcopy(backbone.stages).train().requires_grad_(True)
    pool(stages(images), "auto", backbone.own_pooling).square().sum().backward()
    network.train()
    own_features_with_gradients(network, images).square().sum().backward()
    found = sorted(p.grad.norm().item() for p in stages.parameters() if p.grad is not None)
    expected = sorted(p.grad.norm().item() for p in network.parameters() if p.grad is not None)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def own_features_with_gradients(network, images):
    output = network(pixel_values=images)
    return output.last_hidden_state[:, 0] if type(network).__name__ == "ViTModel" else output.pooler_output


def test_classes_have_the_names_of_the_configuration(tmp_path):
    saved("ViTForImageClassification", tmp_path / "named", id2label=dict(enumerate("abcde")))
    saved("ViTForImageClassification", tmp_path / "numbered")
    assert load_backbone(tmp_path / "named").categories == tuple("abcde")
    assert load_backbone(tmp_path / "numbered").categories is None


def test_a_network_from_scratch_is_drawn_as_transformers_draws_it(tmp_path):
    pytest.importorskip("transformers", minversion="5.21", reason="parameters and checks are those of later releases")
    saved("Dinov2Model", tmp_path)
    one, two = (load_backbone(tmp_path, weights=None, random_state=seed) for seed in (0, 1))
    assert one.stage_names == load_backbone(tmp_path).stage_names
    assert one.digest != two.digest
    weights = torch.cat([p.flatten() for name, p in one.stages.named_parameters() if "q_proj.weight" in name])
    assert weights.std().item() == pytest.approx(0.02, rel=0.1)  # the initializer_range of its configuration


def test_a_module_of_transformers_is_taken_as_it_is(tmp_path):
    network = tiny("ViTForImageClassification")
    backbone, again = load_backbone(network), load_backbone(lambda: tiny("ViTForImageClassification"))
    images = images_for(backbone)
    with torch.no_grad():
        torch.testing.assert_close(backbone.head(features_of(backbone, images)), network(images).logits)
    assert again.digest == backbone.digest
    assert backbone.preprocessing.crop_size == 32
    twin = load_backbone(backbone, weights=None, random_state=7)
    assert twin.digest != backbone.digest
    assert twin.stage_names == backbone.stage_names


def test_pickles_name_the_folder_and_hold_no_weights(tmp_path):
    saved("ViTModel", tmp_path)
    backbone = load_backbone(tmp_path)
    text = pickle.dumps(backbone)
    assert len(text) < 1000
    assert pickle.loads(text) is backbone


@pytest.mark.parametrize(
    "depth", [0, pytest.param(1, marks=pytest.mark.slow), pytest.param("all", marks=pytest.mark.slow)]
)
def test_model_files_hold_what_builds_the_network_again(depth, tmp_path):
    saved("ViTForImageClassification", tmp_path / "network")
    X, y = make_fractals(8, n_classes=2, random_state=0)
    model = FineTuneClassifier(tmp_path / "network", unfreeze_depth=depth, max_epochs=1, random_state=0).fit(X, y)
    save_model(model, tmp_path / "model.safetensors")
    (tmp_path / "network" / "model.safetensors").unlink()
    again = load_model(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))


def test_an_extractor_of_a_folder_gives_the_features_of_the_network(tmp_path):
    network = saved("ConvNextModel", tmp_path)
    X = np.random.default_rng(0).integers(0, 256, (4, 40, 50, 3), dtype=np.uint8)
    backbone = load_backbone(tmp_path)
    prepared = torch.from_numpy(np.stack([backbone.preprocessing.prepare(image) for image in X]))
    with torch.no_grad():
        expected = network(backbone.preprocessing.normalize(prepared)).pooler_output
    np.testing.assert_allclose(
        PretrainedFeatureExtractor(str(tmp_path)).fit_transform(X), expected, rtol=1e-4, atol=1e-5
    )


@pytest.mark.slow
def test_the_vector_of_an_image_does_not_depend_on_its_neighbours(tmp_path):
    saved("Dinov2Model", tmp_path)
    X, _ = make_fractals(9, n_classes=2, random_state=0)
    vectors = [
        PretrainedFeatureExtractor(str(tmp_path), batch_size=size, cache=False).fit_transform(X) for size in (1, 4, 9)
    ]
    np.testing.assert_array_equal(vectors[0], vectors[1])
    np.testing.assert_array_equal(vectors[0], vectors[2])


def test_vectors_of_the_same_weights_under_another_configuration_are_others(tmp_path):
    X, _ = make_fractals(2, n_classes=2, random_state=0)
    vectors = []
    for n_heads in (2, 4):
        saved("ViTModel", tmp_path / str(n_heads) / "model", num_attention_heads=n_heads)
        extractor = PretrainedFeatureExtractor(str(tmp_path / str(n_heads) / "model")).fit(X)
        vectors.append(extractor.transform(X))
        assert extractor.store_info_.n_hits == 0
    assert not np.allclose(*vectors)


def test_a_network_from_scratch_follows_a_configuration_that_was_rewritten(tmp_path):
    saved("ViTModel", tmp_path)
    before = load_backbone(tmp_path, None)
    assert load_backbone(tmp_path, None) is before
    saved("ViTModel", tmp_path, num_hidden_layers=3)
    assert load_backbone(tmp_path, None).stage_names != before.stage_names


@pytest.mark.slow
@pytest.mark.parametrize("from_file", [False, True])
def test_trained_networks_are_saved_and_drawn_anew_without_their_folder(tmp_path, from_file):
    saved("ViTModel", tmp_path / "network")
    X, y = make_fractals(4, n_classes=2, random_state=0)
    options = {"max_epochs": 1, "random_state": 0}
    trained = FineTuneClassifier(tmp_path / "network", **options).fit(X, y)
    if from_file:
        save_model(trained, tmp_path / "first.safetensors")
        trained = load_model(tmp_path / "first.safetensors")
    shutil.rmtree(tmp_path / "network")
    for twin in (load_backbone(trained, None), load_backbone(load_backbone(trained), None)):
        assert twin.stage_names == load_backbone(trained).stage_names
        assert twin.weights is None
        assert pickle.loads(pickle.dumps(twin)).digest == twin.digest
    further = FineTuneClassifier(trained, **options).fit(X, y)
    save_model(further, tmp_path / "second.safetensors")
    again = load_model(tmp_path / "second.safetensors")
    np.testing.assert_array_equal(again.predict_proba(X), further.predict_proba(X))


def test_what_transformers_says_is_as_before_after_several_threads():
    logging, inside = transformers().logging, threading.Event()
    level = logging.get_verbosity()

    def first():
        with quiet():
            inside.set()
            time.sleep(0.1)

    def second():
        inside.wait()
        with quiet():
            time.sleep(0.2)

    threads = [threading.Thread(target=each) for each in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert logging.get_verbosity() == level != logging.CRITICAL


@pytest.mark.slow
def test_an_image_goes_through_the_network_once(tmp_path, passes):
    saved("Dinov2Model", tmp_path)
    X, _ = make_fractals(4, n_classes=2, random_state=0)
    first = PretrainedFeatureExtractor(str(tmp_path)).fit_transform(X)
    n_passes = len(passes)
    again = PretrainedFeatureExtractor(str(tmp_path)).fit_transform(X[::-1])
    assert len(passes) == n_passes > 0
    np.testing.assert_array_equal(first, again[::-1])


@pytest.mark.slow
def test_what_is_frozen_stays_as_it_was(tmp_path):
    saved("Dinov2Model", tmp_path)
    X, y = make_fractals(8, n_classes=2, random_state=0)
    model = FineTuneClassifier(str(tmp_path), unfreeze_depth=1, max_epochs=2, random_state=0).fit(X, y)
    before, after = load_backbone(tmp_path).stages.state_dict(), model.module_.stages.state_dict()
    top = load_backbone(tmp_path).stage_names[-1]
    changed = {name.split(".")[0] for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert changed == {top}


def test_a_file_that_is_cut_off_is_an_error(tmp_path):
    saved("ViTModel", tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="truncated"):
        load_backbone(tmp_path)


def test_weights_that_do_not_fit_the_configuration_are_an_error(tmp_path):
    saved("ViTModel", tmp_path)
    other = tiny("ViTModel", hidden_size=16)
    other.config.save_pretrained(tmp_path)
    with pytest.raises(WeightsMismatchError, match="of another shape"):
        load_backbone(tmp_path)


def test_pickled_weights_are_refused(tmp_path):
    saved("ViTModel", tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="pickles are not read"):
        load_backbone(tmp_path)


def test_numbers_that_are_not_finite_are_an_error(tmp_path):
    network = tiny("ViTModel")
    network.layernorm.weight.data[3] = torch.nan
    network.save_pretrained(tmp_path)
    with pytest.raises(WeightsError, match="finite"):
        load_backbone(tmp_path)


def test_without_transformers_the_error_names_the_extra(tmp_path, monkeypatch):
    saved("ViTModel", tmp_path)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ImportError, match=r"pip install 'sktl\[hub\]'"):
        load_backbone(tmp_path)


def test_a_folder_that_is_gone_is_an_error(tmp_path):
    with pytest.raises(WeightsNotFoundError, match=r"config\.json"):
        load_backbone(tmp_path / "nothing")


@pytest.mark.parametrize(
    "text", ["{}", "not json", '{"model_type": "bert"}', '{"model_type": "vit", "num_channels": 1}']
)
def test_a_configuration_of_no_image_network_is_an_error(text, tmp_path):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match="image network of transformers"):
        load_backbone(tmp_path)


def test_quantised_weights_are_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "vit", "quantization_config": {"quant_method": "gptq"}}')
    with pytest.raises(ValueError, match="Got quantised weights instead: name the repository with the whole ones"):
        load_backbone(tmp_path)


def test_a_written_configuration_that_would_fill_the_memory_is_refused():
    pytest.importorskip("transformers", minversion="5.21", reason="parameters and checks are those of later releases")
    values = {"model_type": "vit", "hidden_size": 32768, "num_hidden_layers": 1, "intermediate_size": 65536}
    with pytest.raises(ValueError, match=r"at most 2,000,000,000 weights\. Got 9,[\d,]+ instead"):
        network_of({"class": "ViTModel", "flipped": False, "values": values})


def test_a_classifier_that_is_not_one_layer_beside_the_base_model_is_an_error():
    network = tiny("ViTForImageClassification")
    network.classifier = torch.nn.Sequential(torch.nn.Linear(32, 16), torch.nn.ReLU(), torch.nn.Linear(16, 5))
    with pytest.raises(ValueError, match=r"must have a classifier beside its base model.*pass its base model"):
        load_backbone(network)


@pytest.mark.slow
def test_a_network_for_another_image_size_is_read_with_interpolated_positions(tmp_path):
    network = saved("ViTForImageClassification", tmp_path)
    images = torch.rand((2, 3, 64, 64), generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        expected = network(pixel_values=images, interpolate_pos_encoding=True).logits
        backbone = load_backbone(tmp_path, preprocessing=Preprocessing(64))
        torch.testing.assert_close(backbone.head(features_of(backbone, images)), expected, rtol=1e-4, atol=1e-5)


def test_no_code_of_a_folder_is_run(tmp_path):
    (tmp_path / "config.json").write_text(
        '{"model_type": "mine", "auto_map": {"AutoConfig": "code.Mine", "AutoModel": "code.Mine"}}'
    )
    (tmp_path / "code.py").write_text("raise SystemExit('it was run')")
    with pytest.raises(ValueError, match="image network of transformers"):
        load_backbone(tmp_path)


@pytest.mark.parametrize(
    "values",
    [
        {"model_type": "dpt", "is_hybrid": True, "backbone": "owner/other", "use_pretrained_backbone": True},
        {"model_type": "timm_wrapper", "architecture": "hf-hub:owner/other"},
        {"model_type": "timm_wrapper", "architecture": "resnet10t", "model_args": {"checkpoint_path": "/other.pth"}},
        {"model_type": "clip", "vision_config": {"backbone": "owner/other"}},
    ],
)
def test_nothing_from_elsewhere_is_fetched_to_build_a_network(values, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise SystemExit("it asked for something else")

    monkeypatch.setattr("socket.getaddrinfo", refuse)
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match="it takes a part from elsewhere"):
        load_backbone(tmp_path, None)
    with pytest.raises(ValueError, match="it takes a part from elsewhere"):  # what a model file may ask for
        network_of({"class": "DPTModel", "flipped": False, "values": values})


def test_sharded_weights_are_read(tmp_path):
    network = tiny("ViTModel")
    network.save_pretrained(tmp_path / "one")
    network.save_pretrained(tmp_path / "many", max_shard_size="60KB")
    assert not (tmp_path / "many" / "model.safetensors").exists()
    one, many = load_backbone(tmp_path / "one"), load_backbone(tmp_path / "many")
    images = images_for(one)
    assert torch.equal(features_of(one, images), features_of(many, images))


def test_half_precision_becomes_float32(tmp_path):
    tiny("ViTModel").half().save_pretrained(tmp_path)
    backbone = load_backbone(tmp_path)
    assert {parameter.dtype for parameter in backbone.stages.parameters()} == {torch.float32}


def test_nothing_says_more_than_it_must(tmp_path, capsys):
    saved("ViTModel", tmp_path)
    capsys.readouterr()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load_backbone(tmp_path)
    assert capsys.readouterr() == ("", "")
