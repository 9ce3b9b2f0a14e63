"""Maps are those of a plain computation in torch, and add up to the outputs where the head is linear."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.decomposition import PCA
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import nn
from torchvision.models import VisionTransformer

from sktl import (
    FineTuneClassifier,
    FineTuneRegressor,
    LinearProbeClassifier,
    LinearProbeRegressor,
    PretrainedClassifier,
    PretrainedFeatureExtractor,
)
from sktl.displays import class_activation_map

X = np.random.default_rng(0).integers(0, 256, (18, 40, 52, 3), dtype=np.uint8)
THREE = np.array(["ant", "bee", "gnat"])[np.arange(18) % 3]
TWO = THREE != "ant"
RESNET = {"backbone": "resnet18", "weights": None, "image_size": 96, "random_state": 0}


def tuned(**parameters):
    return FineTuneClassifier(**{"max_epochs": 1, "random_state": 0, "augment": None, **parameters})


def frozen(*steps, **parameters):
    return make_pipeline(PretrainedFeatureExtractor(**parameters), *steps)


def hooked(stages, preprocessing, images):
    """Run a chain of stages as plain torch does, and return what a hook on its top stage sees."""
    seen = []
    handle = stages[-1].register_forward_hook(lambda module, inputs, output: seen.append(output))
    prepared = torch.from_numpy(np.stack([preprocessing.prepare(image) for image in images]))
    stages(preprocessing.normalize(prepared))
    handle.remove()
    return seen[0].double()


@pytest.fixture(scope="module")
def resnet():
    return tuned(**RESNET, unfreeze_depth=1).fit(X, THREE)


def test_the_map_of_a_linear_head_is_that_of_plain_torch(resnet):
    head, module = resnet.module_.head.double(), resnet.module_
    with torch.no_grad():
        maps = hooked(module.stages.eval(), module.preprocessing, X)
        assert maps.shape[1:] == (512, 3, 3)
        centred = (maps - head.mean[:, None, None]) / head.scale[:, None, None]
        expected = torch.einsum("kc,nchw->nkhw", head.layers[-1].weight, centred) / 9
    head.float()
    for number, name in enumerate(resnet.classes_):
        assert_allclose(class_activation_map(resnet, X, name), expected[:, number], rtol=0, atol=1e-5)
    own = [number for number, _ in enumerate(THREE)]
    labels = resnet.classes_[np.array(own) % 3]
    assert_allclose(class_activation_map(resnet, X, labels), expected[own, np.array(own) % 3], rtol=0, atol=1e-5)


def test_without_a_target_it_is_the_predicted_class(resnet):
    assert_allclose(class_activation_map(resnet, X), class_activation_map(resnet, X, resnet.predict(X)), rtol=0)


@pytest.mark.parametrize("depth", [0, 1, "all"])
def test_maps_of_a_fine_tuned_network_add_up_to_its_outputs(depth):
    model = tuned(unfreeze_depth=depth).fit(X, THREE)
    bias = model.module_.head.layers[-1].bias.detach().numpy()
    for number, name in enumerate(model.classes_):
        maps = class_activation_map(model, X, name)
        assert_allclose(maps.sum((1, 2)) + bias[number], model.decision_function(X)[:, number], rtol=0, atol=1e-5)


@pytest.mark.parametrize("pooling", ["auto", "avg", "max", "avg+max", "avg+std", "pyramid", "flatten"])
@pytest.mark.parametrize("layer", ["penultimate", "all"])
@pytest.mark.parametrize("linear", [LogisticRegression(C=0.01), LinearProbeClassifier()])
def test_maps_of_a_frozen_pipeline_add_up_to_its_outputs(pooling, layer, linear):
    # Standardised, features that hardly vary would carry the last digits of float32 into the outputs.
    model = frozen(linear, layer=layer, pooling=pooling).fit(X, THREE)
    for number, name in enumerate(model.classes_):
        sums = class_activation_map(model, X, name).sum((1, 2)) + model[-1].intercept_[number]
        assert_allclose(sums, model.decision_function(X)[:, number], rtol=0, atol=1e-5)


def test_of_two_classes_one_is_the_opposite_of_the_other():
    linear = LogisticRegression(C=0.01)
    for steps in (
        [StandardScaler(with_mean=False), linear],
        [StandardScaler(with_std=False), linear],
        [linear],
        [LinearProbeClassifier()],
    ):
        model = frozen(*steps).fit(X, TWO)
        maps = class_activation_map(model, X, True)
        assert_allclose(maps.sum((1, 2)) + model[-1].intercept_, model.decision_function(X), rtol=0, atol=1e-5)
        assert_allclose(class_activation_map(model, X, False), -maps, rtol=0, atol=1e-12)


def test_numbers_have_maps_as_well():
    y = np.stack([X.mean((1, 2, 3)), X.std((1, 2, 3))], axis=1)
    for linear in (Ridge(), LinearProbeRegressor()):
        model = frozen(linear).fit(X, y)
        for output in (0, 1):
            sums = class_activation_map(model, X, output).sum((1, 2)) + model[-1].intercept_[output]
            assert_allclose(sums, model.predict(X)[:, output], rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match="target must be the number of an output, below 2"):
        class_activation_map(model, X)
    one = FineTuneRegressor(unfreeze_depth=0, random_state=0).fit(X, y[:, 0])
    assert class_activation_map(one, X).shape == class_activation_map(one, X, 0).shape == (18, 3, 3)


def test_the_classes_of_a_pretrained_network_have_maps():
    model = PretrainedClassifier().fit(X)
    maps, logits = class_activation_map(model, X), model.decision_function(X)
    bias = model.backbone_.head.bias[logits.argmax(1)].numpy()
    assert_allclose(maps.sum((1, 2)) + bias, logits.max(1), rtol=0, atol=1e-4)


@pytest.mark.parametrize("depth", [0, 1])
def test_the_map_of_another_head_is_weighted_by_gradients_as_in_plain_torch(depth):
    model = tuned(**{**RESNET, "weights": "default", "backbone": "tiny_fractal"}, head=[8], unfreeze_depth=depth)
    model.set_params(ensemble=False).fit(X, THREE)
    module = model.module_
    maps = hooked(module.stages.eval(), module.preprocessing, X).detach().requires_grad_()
    logits = module.head.double().eval()(maps.mean((2, 3)))
    assert_allclose(logits.detach(), model.decision_function(X), rtol=0, atol=1e-4)
    for number, name in enumerate(model.classes_):
        (gradient,) = torch.autograd.grad(logits[:, number].sum(), maps, retain_graph=True)
        expected = (gradient.mean((2, 3), keepdim=True) * maps).sum(1).relu().detach()
        assert_allclose(class_activation_map(model, X, name), expected, rtol=0, atol=1e-5)
        assert expected.max() > 0


def test_behind_a_class_token_the_stage_below_is_looked_at():
    torch.manual_seed(0)
    network = VisionTransformer(32, 8, 4, 2, 16, 32, num_classes=3)
    model = tuned(backbone=network, unfreeze_depth=0, image_size=32).fit(X, THREE)
    assert model.backbone_.own_pooling == "token"
    maps = class_activation_map(model, X)
    assert maps.shape == (18, 4, 4)
    assert maps.min() >= 0
    assert maps.max() > 0
    averaged = frozen(LogisticRegression(), backbone=network, pooling="avg", image_size=32).fit(X, THREE)
    sums = class_activation_map(averaged, X, "bee").sum((1, 2)) + averaged[-1].intercept_[1]
    assert_allclose(sums, averaged.decision_function(X)[:, 1], rtol=0, atol=1e-5)


class Ends(nn.Module):
    """A network whose top stage gives vectors."""

    def __init__(self):
        super().__init__()
        self.low = nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.ReLU())
        self.top = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 6), nn.ReLU())
        self.fc = nn.Linear(6, 3)

    def forward(self, images):
        return self.fc(self.top(self.low(images)))


def test_below_a_stage_of_vectors_the_highest_maps_are_looked_at():
    torch.manual_seed(0)
    model = tuned(backbone=Ends(), unfreeze_depth=0, image_size=33).fit(X, THREE)
    maps = class_activation_map(model, X)
    assert maps.shape[1] > 2
    assert maps.min() >= 0
    assert maps.max() > 0


def test_a_bright_spot_is_where_it_is():
    rng = np.random.default_rng(1)
    images, labels = rng.integers(0, 60, (40, 48, 48, 3), dtype=np.uint8), np.arange(40) % 2
    for image, label in zip(images, labels, strict=True):
        if label:
            row, column = rng.integers(0, 2, 2) * 24
            image[row : row + 24, column : column + 24] += 160
    model = frozen(StandardScaler(), LogisticRegression(C=0.01), image_size=96).fit(images, labels)
    spots = images[1::2].mean(3)
    maps = class_activation_map(model, images[1::2], 1)
    assert maps.shape == (20, 6, 6)
    quarters = [
        values.reshape(20, 2, side, 2, side).mean((2, 4)).reshape(20, 4) for values, side in ((spots, 24), (maps, 3))
    ]
    assert (quarters[0].argmax(1) == quarters[1].argmax(1)).mean() > 0.9


def test_the_estimator_is_left_as_it_is(resnet):
    before = {name: tensor.clone() for name, tensor in resnet.module_.state_dict().items()}
    states = [(parameter.requires_grad, parameter.grad) for parameter in resnet.module_.parameters()]
    with torch.inference_mode():
        class_activation_map(resnet, X[:2])
    assert all(torch.equal(tensor, before[name]) for name, tensor in resnet.module_.state_dict().items())
    for (requires_grad, grad), parameter in zip(states, resnet.module_.parameters(), strict=True):
        assert parameter.requires_grad == requires_grad
        assert parameter.grad is grad


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: frozen(SVC()), "linear model. Got PretrainedFeatureExtractor and SVC instead"),
        (lambda: frozen(PCA(2), LogisticRegression()), "Got PretrainedFeatureExtractor and PCA and LogisticRegression"),
        (LogisticRegression, "Got LogisticRegression instead"),
    ],
)
def test_other_estimators_are_refused(make, message):
    model, is_pipeline = make(), hasattr(make(), "steps")
    model.fit(X if is_pipeline else X.reshape(18, -1), THREE)
    with pytest.raises(ValueError, match=message):
        class_activation_map(model, X)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("be", "target must be a class of the estimator. Got 'be' instead. Did you mean 'bee'"),
        (3, "Got 3 instead"),
        (["ant", "bee"], r"target must be one label, or 18. Got an array of shape \(2,\) instead"),
    ],
)
def test_targets_must_be_classes(resnet, target, message):
    with pytest.raises(ValueError, match=message):
        class_activation_map(resnet, X, target)


def test_it_must_be_fitted():
    with pytest.raises(NotFittedError):
        class_activation_map(tuned(), X)


def test_columns_of_labels_are_explained_one_at_a_time():
    X = np.random.default_rng(0).integers(0, 256, (12, 20, 20, 3), dtype=np.uint8)
    model = FineTuneClassifier(unfreeze_depth=0).fit(X, np.stack([np.arange(12) % 3, np.arange(12) % 2], axis=1))
    with pytest.raises(ValueError, match=r"estimator must predict one column of labels\. Got one of 2 columns"):
        class_activation_map(model, X)
