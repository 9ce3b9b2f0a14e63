import os
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix
from scipy.stats import loguniform
from sklearn.base import BaseEstimator
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import fbeta_score, get_scorer, make_scorer
from sklearn.model_selection import RandomizedSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from torch import nn
from torchvision.transforms import v2

from sktl import FineTuneClassifier, PretrainedFeatureExtractor
from sktl.backbones import load_backbone
from sktl.comparison._description import described


class Holder:
    """An object without a word about itself."""

    def __init__(self, content):
        self.content = content

    def method(self, x):
        return x

    def __call__(self, x):
        return x


class Scaled(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor


def network(seed=0, width=4):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, width, 3), nn.ReLU())


def enclosing(number):
    return lambda x: x + number


def tuned(**options):
    return FineTuneClassifier(**options)


def fitted(y):
    return LogisticRegression().fit(ROWS, y)


def tree(y):
    return DecisionTreeClassifier(random_state=0).fit(ROWS, y)


def source(text, file="a.py", name="f"):
    names = {"__name__": "__main__", "BaseEstimator": BaseEstimator, "Module": nn.Module}
    exec(compile(text, file, "exec"), names)
    return names[name]


def own_class(number, base=BaseEstimator):
    text = f"class E({base.__name__}):\n    @property\n    def v(self): return {number}\n"
    return source(text, name="E")


ROWS, Y = np.random.default_rng(0).normal(size=(60, 4)), np.arange(60) % 2
INNER = """
def f(e, X, y):
    try:
        return max((lambda v: v + {0})(p) for p in e.predict(X))
    except ValueError:
        return 0
"""
PAIRS = {
    "number": (lambda: LogisticRegression(C=1), lambda: LogisticRegression(C=2)),
    "nested": (
        lambda: make_pipeline(StandardScaler(), LogisticRegression(C=1)),
        lambda: make_pipeline(StandardScaler(), LogisticRegression(C=2)),
    ),
    "step": (
        lambda: make_pipeline(LogisticRegression()),
        lambda: make_pipeline(StandardScaler(), LogisticRegression()),
    ),
    "array": (lambda: np.arange(9_999.0), lambda: np.arange(9_999.0)[::-1].copy()),
    "set": (lambda: {"a", "b", "c"}, lambda: {"a", "b", "d"}),
    "function": (lambda: len, lambda: max),
    "code": (lambda: lambda x: x + 1, lambda: lambda x: x + 2),
    "enclosed": (lambda: enclosing(1), lambda: enclosing(2)),
    "partial": (lambda: partial(network, width=4), lambda: partial(network, width=5)),
    "object": (lambda: Holder(1), lambda: Holder(2)),
    "method": (lambda: Holder(1).method, lambda: Holder(2).method),
    "deep": (lambda: [Holder([Holder(1)])], lambda: [Holder([Holder(2)])]),
    "transform": (lambda: v2.RandomRotation(10), lambda: v2.RandomRotation(30)),
    "module": (lambda: Scaled(1.0), lambda: Scaled(2.0)),
    "weights": (lambda: network(0), lambda: network(1)),
    "record": (lambda: load_backbone(), lambda: load_backbone(weights=None)),
    "own weights": (lambda: tuned(weights="default"), lambda: tuned(weights=None)),
    "augmentation": (lambda: tuned(augment=v2.RandomRotation(10)), lambda: tuned(augment=v2.RandomRotation(30))),
    "scorer": (
        lambda: make_scorer(fbeta_score, beta=1, average="macro"),
        lambda: make_scorer(fbeta_score, beta=2, average="macro"),
    ),
    "tensor": (lambda: [torch.tensor([0.123451, 0.5])], lambda: [torch.tensor([0.123454, 0.5])]),
    "type of tensor": (lambda: torch.zeros(2), lambda: torch.zeros(2, dtype=torch.bfloat16)),
    "shape of tensor": (lambda: torch.zeros(2), lambda: torch.zeros(2, 1)),
    "frame": (lambda: pd.DataFrame({"a": np.arange(500)}), lambda: pd.DataFrame({"a": np.r_[0:250, 0, 251:500]})),
    "sparse": (lambda: csr_matrix(np.eye(3)), lambda: csr_matrix(2 * np.eye(3))),
    "objects": (lambda: np.array([Holder(1)]), lambda: np.array([Holder(2)])),
    "frozen": (lambda: FrozenEstimator(fitted(Y)), lambda: FrozenEstimator(fitted(1 - Y))),
    "frozen tree": (lambda: FrozenEstimator(tree(Y)), lambda: FrozenEstimator(tree(1 - Y))),
    "fitted in a function": (
        lambda: FunctionTransformer(fitted(Y).predict_proba),
        lambda: FunctionTransformer(fitted(1 - Y).predict_proba),
    ),
    "fitted in a dictionary": (
        lambda: FunctionTransformer(len, kw_args={"model": tree(Y)}),
        lambda: FunctionTransformer(len, kw_args={"model": tree(1 - Y)}),
    ),
    "inner function": (lambda: source(INNER.format(1)), lambda: source(INNER.format(2))),
    "argument names": (lambda: source("def f(a, b): return a - b"), lambda: source("def f(b, a): return b - a")),
    "method of own class": (lambda: own_class(1)(), lambda: own_class(2)()),
    "base of own class": (lambda: type("B", (own_class(1),), {})(), lambda: type("B", (own_class(2),), {})()),
    "network of own": (lambda: own_class(1, nn.Module)(), lambda: own_class(2, nn.Module)()),
    "output": (StandardScaler, lambda: StandardScaler().set_output(transform="pandas")),
    "generator": (lambda: np.random.RandomState(0), lambda: np.random.RandomState(1)),
    "named scorer": (lambda: get_scorer("accuracy"), lambda: get_scorer("balanced_accuracy")),
}


@pytest.mark.parametrize("name", PAIRS)
def test_equal_things_are_described_alike_and_others_differently(name):
    make, make_other = PAIRS[name]
    assert described(make()) == described(make())
    assert described(make()) != described(make_other())
    assert " at 0x" not in described(make())


def test_weights_under_the_same_name_are_told_apart_by_their_digest(monkeypatch):
    before = described(PretrainedFeatureExtractor())
    other = load_backbone(weights=None)
    monkeypatch.setattr("sktl.comparison._description.load_backbone", lambda *_: other)
    assert described(PretrainedFeatureExtractor()) != before


def test_weights_that_are_not_to_be_had_are_left_to_the_fit():
    assert "none: " in described(PretrainedFeatureExtractor(weights="nowhere.safetensors"))


def nested(number, levels):
    model = PCA(number)
    for _ in range(levels):
        model = make_pipeline(make_column_transformer((model, [0, 1, 2])))
    return model


@pytest.mark.parametrize("levels", [1, 4, 8])
def test_no_parameter_lies_too_deep_to_be_seen(levels):
    assert described(nested(1, levels)) == described(nested(1, levels)) != described(nested(2, levels))


def test_what_holds_itself_ends_somewhere():
    one = Holder(None)
    one.content = [one, 1]
    other = Holder(None)
    other.content = [other, 2]
    assert described(one) == described(one) != described(other)


def test_what_is_shared_many_times_is_described_in_no_time():
    holder = Holder(0)
    for _ in range(30):
        holder = Holder([holder, holder])
    assert len(described(holder)) < 10_000


def test_what_is_too_deep_is_never_taken_for_something_else():
    holder = Holder(0)
    for _ in range(2000):
        holder = Holder(holder)
    assert described(holder) != described(holder)


def test_a_candidate_that_was_fitted_before_is_still_the_same_candidate():
    model = make_pipeline(StandardScaler(), LogisticRegression())
    before = described(model)
    assert described(model.fit(ROWS, Y)) == before


def frozen_network(kind, images, **options):
    return FrozenEstimator(kind(random_state=0, **options).fit(images, np.arange(12) % 2))


def test_a_frozen_network_stays_the_same_however_often_it_has_predicted_or_was_trained():
    images = np.random.default_rng(0).random((12, 8, 8))
    frozen = frozen_network(PretrainedFeatureExtractor, images)
    before = described(frozen)
    frozen.transform(images)
    assert described(frozen) == before
    frozen = frozen_network(FineTuneClassifier, images, max_epochs=1)
    before = described(frozen)
    frozen.predict(images)
    assert described(frozen) == before == described(frozen_network(FineTuneClassifier, images, max_epochs=1))
    assert described(frozen_network(FineTuneClassifier, images[::-1], max_epochs=1)) != before


def test_neighbours_stay_the_same_however_often_they_were_asked():
    frozen = FrozenEstimator(KNeighborsClassifier(algorithm="kd_tree").fit(ROWS, Y))
    before = described(frozen)
    frozen.predict(ROWS)
    assert described(frozen) == before


def test_the_random_numbers_of_the_process_do_not_matter():
    search = RandomizedSearchCV(LogisticRegression(), {"C": loguniform(0.1, 1)})
    before = described(search)
    np.random.rand()  # noqa: NPY002
    assert described(search) == before


def test_attributes_of_a_class_that_count_or_remember_do_not_matter():
    kind = source("class E(BaseEstimator):\n    asked = []\n    SIZE = 3\n", name="E")
    before = described(kind())
    kind.asked.append(1)
    assert described(kind()) == before
    kind.SIZE = 4
    assert described(kind()) != before


def test_the_place_of_the_source_does_not_matter():
    there = source("\n\n" + INNER.format(1), file="/tmp/ipykernel_22/1.py")
    assert described(source(INNER.format(1))) == described(there)


SCRIPT = """
from sktl.comparison._description import described
def score(estimator, X, y):
    return 1.0 if y[0] in {"ants", "bees", "cows"} else max(map(lambda v: v in {"d", "e"}, y))
class Own:
    def method(self):
        return "x" in {"f", "g", "h"}
print(described([score, {"i", "j", "k"}, frozenset({("l", 1), "m"}), Own()]))
"""


@pytest.mark.slow
def test_the_seed_of_hashes_does_not_matter():
    said = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "12"
    }
    assert len(said) == 1


def test_the_device_is_the_one_that_auto_stands_for(monkeypatch):
    before = described(tuned(device="auto"))
    monkeypatch.setattr(
        "sktl.comparison._description.resolve_placement", lambda: SimpleNamespace(device=torch.device("meta"))
    )
    assert described(tuned(device="auto")) != before
