"""Out of training comes a backbone: fitted estimators are taken as networks, and clones and pickles keep them so."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedShuffleSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from torch import nn

from sktl import FineTuneClassifier, FineTuneRegressor, PretrainedClassifier, PretrainedFeatureExtractor
from sktl.backbones import load_backbone, tensor_digest
from sktl.datasets import make_fractals
from sktl.exceptions import WeightsMismatchError
from sktl.models import load_model, save_model

QUICK = {"max_epochs": 1, "image_size": 32, "random_state": 0}


@pytest.fixture(scope="module")
def images():
    return make_fractals(12, n_classes=2, random_state=0)[0]


@pytest.fixture(scope="module")
def target():
    return np.arange(12) % 2


@pytest.fixture(scope="module")
def tuned(images, target):
    return FineTuneClassifier(unfreeze_depth=2, **QUICK).fit(images, target)


@pytest.fixture(scope="module")
def path(tuned, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tuned.safetensors"
    save_model(tuned, path)
    return path


def features(tuned, images):
    """What the network of a fine-tuned estimator itself hands to its head."""
    network = tuned.module_
    prepared = torch.from_numpy(np.stack([network.preprocessing.prepare(image) for image in images]))
    with torch.no_grad():
        return network.features(network.below_cut(prepared)).numpy()


def vectors(backbone, images):
    return PretrainedFeatureExtractor(backbone, cache=False).fit_transform(images)


@pytest.mark.parametrize("kind", [FineTuneClassifier, FineTuneRegressor])
@pytest.mark.parametrize("depth", [1, "all"])
def test_the_trained_stages_are_the_backbone(kind, depth, images, target):
    tuned = kind(unfreeze_depth=depth, **QUICK).fit(images, target)
    record = load_backbone(tuned)
    assert record.preprocessing == tuned.module_.preprocessing
    assert record.digest == tensor_digest(record.name, stages=tuned.module_.stages)
    assert record.digest != load_backbone().digest
    np.testing.assert_allclose(vectors(tuned, images), features(tuned, images), rtol=0, atol=1e-4)
    assert not any(parameter.requires_grad for parameter in record.stages.parameters())
    assert not record.stages.training


def test_a_record_says_where_its_weights_come_from(tuned, images, target):
    record = load_backbone(tuned)
    assert (record.name, record.license) == ("tiny_fractal", load_backbone().license)
    assert record.weights == "embedded, trained by FineTuneClassifier"
    assert record.source.endswith("then what FineTuneClassifier was fitted on")
    assert (record.head, record.categories) == (None, None)
    scratch = load_backbone(FineTuneClassifier(weights=None, **QUICK).fit(images, target))
    assert scratch.weights == "random weights, trained by FineTuneClassifier"
    assert (scratch.license, scratch.source) == ("unknown", "what FineTuneClassifier was fitted on")


def test_batch_norm_statistics_are_those_after_training(images, target):
    tuned = FineTuneClassifier(unfreeze_depth="all", batch_norm="update", **QUICK).fit(images, target)
    name = "stem.1.running_mean"
    found, before = (load_backbone(each).stages.state_dict()[name] for each in (tuned, "tiny_fractal"))
    assert torch.equal(found, tuned.module_.stages.state_dict()[name])
    assert not torch.equal(found, before)


def test_training_goes_on_from_there(tuned, images, target):
    second = FineTuneClassifier(tuned, unfreeze_depth=1, max_epochs=1, random_state=0).fit(images, target)
    assert second.module_.preprocessing.crop_size == 32
    frozen = [stages.state_dict() for stages in (second.module_.frozen_stages, tuned.module_.stages)]
    assert all(torch.equal(tensor, frozen[1][name]) for name, tensor in frozen[0].items())
    record = load_backbone(second)
    assert record.weights == "embedded, trained by FineTuneClassifier, trained by FineTuneClassifier"


def test_with_nothing_trained_it_is_the_backbone_from_before(images, target, passes):
    vectors_before = PretrainedFeatureExtractor().fit_transform(images)
    probe = FineTuneClassifier(unfreeze_depth=0, random_state=0).fit(images, target)
    assert load_backbone(probe) is load_backbone()
    n_passes = len(passes)
    np.testing.assert_array_equal(PretrainedFeatureExtractor(probe).fit_transform(images), vectors_before)
    assert len(passes) == n_passes  # all of them were in the store
    again = load_backbone(pickle.loads(pickle.dumps(probe)))
    assert again.digest == tensor_digest("tiny_fractal", stages=load_backbone().stages)


def test_one_copy_is_kept_until_the_network_changes(images, target):
    tuned = FineTuneClassifier(**QUICK).fit(images, target)
    record = load_backbone(tuned)
    assert load_backbone(tuned) is record
    tuned.partial_fit(images, target)
    after = load_backbone(tuned)
    assert after.digest != record.digest
    assert after.digest == tensor_digest(record.name, stages=tuned.module_.stages)
    with torch.no_grad():
        tuned.module_.stages[-1].conv1.weight.zero_()
    assert load_backbone(tuned).digest not in (record.digest, after.digest)


@pytest.mark.parametrize("outer", [PretrainedFeatureExtractor, FineTuneClassifier, FineTuneRegressor])
def test_clones_and_parameters_keep_a_fitted_estimator_as_it_is(outer, tuned):
    estimator = outer(tuned, image_size=24)
    for cloned in (clone(estimator), clone(clone(estimator)), clone(make_pipeline(estimator))[0]):
        assert cloned.backbone is tuned
        assert cloned.image_size == 24
    assert not [name for name in estimator.get_params() if name.startswith("backbone__")]
    assert estimator.get_params()["backbone"] is tuned
    assert "backbone=FineTuneClassifier(" in repr(estimator)
    assert not hasattr(clone(tuned), "net_")


@pytest.mark.parametrize("n_jobs", [None, pytest.param(2, marks=pytest.mark.slow)])
def test_cross_validation_does_not_forget_its_training(tuned, images, target, n_jobs):
    expected = vectors(tuned, images)
    model = make_pipeline(PretrainedFeatureExtractor(tuned), LogisticRegression(max_iter=1000))
    direct = cross_val_score(LogisticRegression(max_iter=1000), expected, target, cv=3)
    found = cross_val_score(model, images, target, cv=3, n_jobs=n_jobs, error_score="raise")
    np.testing.assert_array_equal(found, direct)


def test_a_search_does_not_forget_its_training(tuned, images, target):
    model = make_pipeline(PretrainedFeatureExtractor(tuned), LogisticRegression(max_iter=1000))
    search = GridSearchCV(model, {"logisticregression__C": [0.1, 1.0]}, cv=2, error_score="raise").fit(images, target)
    np.testing.assert_array_equal(search.best_estimator_[0].transform(images), vectors(tuned, images))


def test_in_a_grid_it_is_written_as_a_record(tuned, images, target):
    model = make_pipeline(PretrainedFeatureExtractor(), LogisticRegression(max_iter=1000))
    name = "pretrainedfeatureextractor__backbone"
    with pytest.raises(NotFittedError, match=r"must be fitted when it is an estimator.*backbone=load_backbone\("):
        GridSearchCV(model, {name: [tuned]}, cv=2, error_score="raise").fit(images, target)
    values = [load_backbone(tuned), FrozenEstimator(tuned)]
    search = GridSearchCV(model, {name: values}, cv=2, error_score="raise").fit(images, target)
    np.testing.assert_array_equal(search.best_estimator_[0].transform(images), vectors(tuned, images))
    assert len(set(search.cv_results_["mean_test_score"])) == 1


@pytest.mark.parametrize("outer", [FineTuneClassifier(), PretrainedFeatureExtractor(), PretrainedClassifier()])
def test_unfitted_ones_are_refused(outer, images, target):
    for inner in (FineTuneRegressor(), make_pipeline(PretrainedFeatureExtractor(), LogisticRegression())):
        with pytest.raises(NotFittedError, match=r"^backbone must be fitted when it is an estimator. Got a "):
            clone(outer).set_params(backbone=inner).fit(images, target)


def test_pickles_hold_the_stages_and_no_optimizer(tuned, images):
    estimator = PretrainedFeatureExtractor(tuned).fit(images)
    pickled = pickle.dumps(estimator)
    n_bytes = sum(4 * tensor.numel() for tensor in tuned.module_.stages.state_dict().values())
    assert len(pickled) < 1.1 * n_bytes
    again = pickle.loads(pickled)
    np.testing.assert_array_equal(again.transform(images), estimator.transform(images))
    np.testing.assert_array_equal(clone(again).fit_transform(images), estimator.transform(images))
    assert estimator.backbone is tuned
    assert not hasattr(pickle.loads(pickle.dumps(PretrainedFeatureExtractor(clone(tuned)))).backbone, "net_")


def test_pickles_refer_to_the_file_of_a_model_that_was_read(tuned, path, images, monkeypatch):
    loaded = load_model(path)
    record = load_backbone(loaded)
    assert record.digest == load_backbone(tuned).digest
    for estimator in (PretrainedFeatureExtractor(loaded), PretrainedFeatureExtractor(loaded).fit(images)):
        pickled = pickle.dumps(estimator)
        assert len(pickled) < 3000
        again = pickle.loads(pickled)
        np.testing.assert_array_equal(clone(again).fit_transform(images), vectors(tuned, images))
    pickled = pickle.dumps(record)
    moved = path.with_name("moved") / path.name
    moved.parent.mkdir()
    path.rename(moved)
    try:
        with pytest.raises(ValueError, match=r"tuned\.safetensors"):
            pickle.loads(pickled)
        monkeypatch.setenv("SKTL_WEIGHTS_DIR", str(moved.parent))
        assert pickle.loads(pickled).digest == record.digest
    finally:
        moved.rename(path)


def test_a_model_file_that_was_replaced_is_noticed(images, target, tmp_path):
    files = [tmp_path / "model.safetensors", tmp_path / "other.safetensors"]
    for seed, file in enumerate(files):
        save_model(FineTuneClassifier(**{**QUICK, "random_state": seed}).fit(images, target), file)
    pickled = pickle.dumps(load_backbone(load_model(files[0])))
    files[1].replace(files[0])
    with pytest.raises(WeightsMismatchError, match="must be those that were pickled"):
        pickle.loads(pickled)


def test_a_model_that_was_trained_on_is_no_longer_that_of_its_file(path, images, target):
    loaded = load_model(path).partial_fit(images, target)
    record = load_backbone(loaded)
    assert record.reload is None
    assert pickle.loads(pickle.dumps(record)).digest == record.digest


def test_pipelines_and_extractors_give_their_network(tuned, images, target, tmp_path):
    extractor = PretrainedFeatureExtractor("tiny_fractal", image_size=24).fit(images)
    assert load_backbone(extractor).preprocessing.crop_size == 24
    assert load_backbone(extractor).digest == load_backbone().digest
    assert load_backbone(PretrainedClassifier().fit(images)) is load_backbone()
    pipeline = make_pipeline(PretrainedFeatureExtractor(tuned), LogisticRegression(max_iter=1000)).fit(images, target)
    assert load_backbone(pipeline).digest == load_backbone(tuned).digest
    save_model(pipeline, tmp_path / "frozen.safetensors")
    record = load_backbone(load_model(tmp_path / "frozen.safetensors"))
    assert record.digest == load_backbone(tuned).digest
    assert record.preprocessing == load_backbone(tuned).preprocessing
    assert len(pickle.dumps(record)) < 2000
    assert pickle.loads(pickle.dumps(record)).digest == record.digest


def test_from_scratch_it_is_the_same_architecture_with_random_weights(tuned, path):
    expected = load_backbone("tiny_fractal", None, random_state=3)
    for backbone in (tuned, load_model(path), load_backbone(load_model(path))):
        scratch = load_backbone(backbone, None, random_state=3)
        assert scratch.digest == expected.digest
        assert (scratch.weights, scratch.preprocessing.crop_size) == (None, 32)


def test_a_model_of_trained_stages_is_saved_and_read(tuned, images, target, tmp_path):
    for backbone in (tuned, load_backbone(tuned)):
        model = FineTuneClassifier(backbone, max_epochs=1, random_state=0).fit(images, target)
        save_model(model, tmp_path / "second.safetensors")
        again = load_model(tmp_path / "second.safetensors")
        np.testing.assert_array_equal(again.predict_proba(images), model.predict_proba(images))
        assert again.weights == "embedded, trained by FineTuneClassifier"


def test_modules_of_ones_own_come_out_of_training_too(images, target):
    module = nn.Sequential(
        *(nn.Conv2d(3, 6, 3, 2), nn.ReLU(), nn.Conv2d(6, 8, 3, 2), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)),
    )
    tuned = FineTuneClassifier(module, unfreeze_depth="all", **QUICK).fit(images, target)
    np.testing.assert_allclose(vectors(tuned, images), features(tuned, images), rtol=0, atol=1e-5)
    scratch = load_backbone(tuned, None)
    assert scratch.weights is None
    assert scratch.preprocessing.crop_size == 32


@pytest.mark.slow
def test_an_intermediate_task_pays():
    """With twenty labels for the digits 5 to 9, features that have learnt 0 to 4 first do better on every split."""
    digits = load_digits()
    is_source = digits.target < 5
    size = {"image_size": 32, "value_range": (0, 16)}
    source = FineTuneClassifier(unfreeze_depth=2, max_epochs=5, augment=None, random_state=0, **size)
    source.fit(digits.images[is_source][:450], digits.target[is_source][:450])
    scores = [
        cross_val_score(
            make_pipeline(PretrainedFeatureExtractor(backbone, **size), LogisticRegression(max_iter=2000)),
            digits.images[~is_source],
            digits.target[~is_source],
            cv=StratifiedShuffleSplit(5, train_size=20, random_state=0),
        )
        for backbone in (source, "tiny_fractal")
    ]
    assert (scores[0] > scores[1]).all()
    assert scores[0].mean() > scores[1].mean() + 0.04
