import os
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from PIL import Image
from scipy.sparse import csr_matrix
from scipy.stats import loguniform
from sklearn.base import BaseEstimator
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import fbeta_score, get_scorer, make_scorer
from sklearn.model_selection import RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from torch import nn
from torchvision.transforms import v2

from sktl import FineTuneClassifier, PretrainedFeatureExtractor
from sktl.backbones import load_backbone
from sktl.comparison._resume_key import digest_of, digest_of_images, versions


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
    "frame": (lambda: pd.DataFrame({"a": np.arange(500)}), lambda: pd.DataFrame({"a": np.r_[0:250, 0, 251:500]})),
    "sparse": (lambda: csr_matrix(np.eye(3)), lambda: csr_matrix(2 * np.eye(3))),
    "frozen": (lambda: FrozenEstimator(fitted(Y)), lambda: FrozenEstimator(fitted(1 - Y))),
    "fitted in a function": (
        lambda: FunctionTransformer(fitted(Y).predict_proba),
        lambda: FunctionTransformer(fitted(1 - Y).predict_proba),
    ),
    "fitted in a dictionary": (
        lambda: FunctionTransformer(len, kw_args={"model": tree(Y)}),
        lambda: FunctionTransformer(len, kw_args={"model": tree(1 - Y)}),
    ),
    "inner function": (lambda: source(INNER.format(1)), lambda: source(INNER.format(2))),
    "method of own class": (lambda: own_class(1)(), lambda: own_class(2)()),
    "network of own": (lambda: own_class(1, nn.Module)(), lambda: own_class(2, nn.Module)()),
    "output": (StandardScaler, lambda: StandardScaler().set_output(transform="pandas")),
    "generator": (lambda: np.random.RandomState(0), lambda: np.random.RandomState(1)),
    "named scorer": (lambda: get_scorer("accuracy"), lambda: get_scorer("balanced_accuracy")),
}


@pytest.mark.parametrize("name", PAIRS)
def test_equal_things_are_described_alike_and_others_differently(name):
    make, make_other = PAIRS[name]
    assert digest_of(make()) == digest_of(make())
    assert digest_of(make()) != digest_of(make_other())


def test_weights_under_the_same_name_are_told_apart_by_their_digest(monkeypatch):
    before = digest_of(PretrainedFeatureExtractor())
    other = load_backbone(weights=None)
    monkeypatch.setattr("sktl.comparison._resume_key.load_backbone", lambda *_: other)
    assert digest_of(PretrainedFeatureExtractor()) != before


def nested(number, levels):
    model = PCA(number)
    for _ in range(levels):
        model = make_pipeline(make_column_transformer((model, [0, 1, 2])))
    return model


@pytest.mark.parametrize("levels", [1, 4, 8])
def test_no_parameter_lies_too_deep_to_be_seen(levels):
    assert digest_of(nested(1, levels)) == digest_of(nested(1, levels)) != digest_of(nested(2, levels))


def test_what_is_shared_many_times_is_described_in_no_time():
    holder = Holder(0)
    for _ in range(30):
        holder = Holder([holder, holder])
    assert digest_of(holder) == digest_of(holder)


def test_a_candidate_that_was_fitted_before_is_still_the_same_candidate():
    model = make_pipeline(StandardScaler(), LogisticRegression())
    before = digest_of(model)
    assert digest_of(model.fit(ROWS, Y)) == before


def frozen_network(kind, images, **options):
    return FrozenEstimator(kind(random_state=0, **options).fit(images, np.arange(12) % 2))


def test_a_frozen_network_stays_the_same_however_often_it_has_predicted_or_was_trained():
    images = np.random.default_rng(0).random((12, 8, 8))
    frozen = frozen_network(PretrainedFeatureExtractor, images)
    before = digest_of(frozen)
    frozen.transform(images)
    assert digest_of(frozen) == before
    frozen = frozen_network(FineTuneClassifier, images, max_epochs=1)
    before = digest_of(frozen)
    frozen.predict(images)
    assert digest_of(frozen) == before == digest_of(frozen_network(FineTuneClassifier, images, max_epochs=1))
    assert digest_of(frozen_network(FineTuneClassifier, images[::-1], max_epochs=1)) != before


def test_the_random_numbers_of_the_process_do_not_matter():
    search = RandomizedSearchCV(LogisticRegression(), {"C": loguniform(0.1, 1)})
    before = digest_of(search)
    np.random.rand()  # noqa: NPY002
    assert digest_of(search) == before


def test_the_place_of_the_source_does_not_matter():
    there = source("\n\n" + INNER.format(1), file="/tmp/ipykernel_22/1.py")
    assert digest_of(source(INNER.format(1))) == digest_of(there)


def test_weights_that_are_not_to_be_had_are_left_to_the_fit():
    assert digest_of(tuned(weights="nowhere.safetensors")) != digest_of(tuned())


def test_what_cannot_be_recognised_is_an_error_that_says_why():
    with pytest.raises(TypeError, match="cannot pickle 'generator' object"):
        digest_of(FunctionTransformer(kw_args={"numbers": (number for number in range(3))}))


SCRIPT = """
import numpy as np
import torch
from scipy.stats import loguniform
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer
from sklearn.model_selection import RandomizedSearchCV
from sklearn.preprocessing import FunctionTransformer
from sktl import FineTuneClassifier
from sktl.comparison._resume_key import digest_of

def score(estimator, X, y):
    return 1.0 if y[0] in {"ants", "bees", "cows"} else max(map(lambda v: v in {"d", "e"}, y))

class Own(BaseEstimator):
    SIZE = 3
    def fit(self, X, y):
        super().__init__()
        return "x" in {"f", "g", "h"}

torch.manual_seed(0)
np.random.rand()
parts = {
    "function": score,
    "sets": [{"i", "j", "k"}, frozenset({("l", 1), "m"})],
    "class": Own(),
    "lambda": FunctionTransformer(lambda X: X + 1),
    "network": FineTuneClassifier(head=torch.nn.Linear(48, 2), class_weight={0: 1.0, 1: 2.0}),
    "search": RandomizedSearchCV(LogisticRegression(), {"C": loguniform(0.1, 1)}),
    "scorer": get_scorer("neg_log_loss"),
}
print(*(f"{name} {digest_of(part)}" for name, part in parts.items()), sep="\\n")
"""


def digests_in_a_script(script, seed):
    command, variables = [sys.executable, "-c", script], {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    return dict(line.split() for line in done.stdout.splitlines())


@pytest.mark.slow
def test_processes_agree_and_see_what_changes_in_the_code_of_a_script():
    first = digests_in_a_script(SCRIPT, "1")
    assert len(first) == 7
    assert digests_in_a_script("# another line\n" + SCRIPT, "2") == first
    changed = SCRIPT
    for before, after in {"1.0 if": "2.0 if", "SIZE = 3": "SIZE = 4", "X + 1": "X + 2", "seed(0)": "seed(1)"}.items():
        changed = changed.replace(before, after)
    other = digests_in_a_script(changed, "1")
    assert {name for name in first if first[name] != other[name]} == {"function", "class", "lambda", "network"}


def test_the_device_is_the_one_that_auto_stands_for(monkeypatch):
    before = digest_of(tuned(device="auto"))
    monkeypatch.setattr(
        "sktl.comparison._resume_key.resolve_placement", lambda: SimpleNamespace(device=torch.device("meta"))
    )
    assert digest_of(tuned(device="auto")) != before


def test_images_are_identified_by_their_content_wherever_they_lie(tmp_path):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (4, 4), "red").save(tmp_path / name)
    first = digest_of_images([tmp_path / "a.png"])
    assert first == digest_of_images([str(tmp_path / "b.png")])
    Image.new("RGB", (4, 4), "blue").save(tmp_path / "a.png")
    assert digest_of_images([tmp_path / "a.png"]) != first
    assert digest_of_images([tmp_path / "none.png"]) != first
    rows = np.random.default_rng(0).normal(size=(5, 3))
    assert digest_of_images(rows) == digest_of_images(rows.copy()) != digest_of_images(rows[::-1])


@pytest.mark.parametrize(
    "table",
    [
        lambda paths: pd.DataFrame({"path": paths, "weight": [0.0, 1.0]}),
        lambda paths: pd.DataFrame({"path": pd.Series(paths, dtype="string"), "weight": [0.0, 1.0]}),
        lambda paths: pd.DataFrame([[paths[0], paths[1]]] * 2, columns=["same", "same"]),
        lambda paths: pl.DataFrame({"path": [str(path) for path in paths], "weight": [0.0, 1.0]}),
        lambda paths: [{"path": path, "weight": 0.0} for path in paths],
        lambda paths: [(path, 0.0) for path in paths],
        lambda paths: np.array([[path, 0.0] for path in paths], dtype=object),
        lambda paths: np.array([[str(path), "0.0"] for path in paths]),
    ],
    ids=["frame", "strings", "twins", "polars", "dictionaries", "tuples", "objects", "text"],
)
def test_files_that_a_table_names_are_identified_by_their_content_too(table, tmp_path):
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        Image.new("RGB", (4, 4), "red").save(path)
    first = digest_of_images(table(paths))
    assert first == digest_of_images(table(paths))
    Image.new("RGB", (4, 4), "blue").save(paths[1])
    changed = digest_of_images(table(paths))
    assert changed != first
    paths[1].unlink()
    assert digest_of_images(table(paths)) not in (first, changed)


def test_every_package_that_a_score_comes_from_has_its_version_in_the_key():
    assert {"python", "sktl", "torch", "torchvision", "pillow", "scipy", "skorch"} <= versions().keys()
