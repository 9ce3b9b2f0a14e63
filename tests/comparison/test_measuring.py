import mmap
import sys
from collections import Counter

import numpy as np
import pytest
from joblib import parallel_config
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler

from sktl import FineTuneClassifier, FineTuneRegressor, PretrainedFeatureExtractor
from sktl.comparison import compare_transfer
from sktl.comparison._measuring import peak_memory, reset_peak_memory
from sktl.datasets import make_fractals
from sktl.fine_tuning import _fitting
from sktl.inference import _embed
from sktl.training import _activations, _net

DIGITS = load_digits()
X, Y = DIGITS.images[:40], DIGITS.target[:40] % 2
UNION = make_union(PretrainedFeatureExtractor(), PretrainedFeatureExtractor(layer=1))
HALF = np.arange(40) // 2 % 2 == 0


@pytest.fixture
def counted(monkeypatch):
    """Counts images where they really go through a network: in the frozen part, in training, in prediction."""
    count = Counter()

    def compute(call, tasks, fail_task, original=_embed._Call._compute):
        for done, vectors in original(call, tasks, fail_task):
            count["frozen"] += len(done)
            yield done, vectors

    def infer(net, inputs, original=_net.FineTuneNet.infer, **options):
        count["above"] += len(inputs["activations"])
        return original(net, inputs, **options)

    def run_in_blocks(function, batch, *args, original=_activations.run_in_blocks, **options):
        outputs = original(function, batch, *args, **options)
        count["above"] += len(batch) if outputs.shape != batch.shape else 0  # with all frozen, features are what came
        return outputs

    def map_images(function, images, *args, original=_activations.map_images, **options):
        count["above"] += len(images)
        return original(function, images, *args, **options)

    monkeypatch.setattr(_embed._Call, "_compute", compute)
    monkeypatch.setattr(_net.FineTuneNet, "infer", infer)
    monkeypatch.setattr(_activations, "run_in_blocks", run_in_blocks)
    monkeypatch.setattr(_fitting, "run_in_blocks", run_in_blocks)
    monkeypatch.setattr(_activations, "map_images", map_images)
    return count


def compare(candidate, y=Y, cv=None, **options):
    cv = [(np.flatnonzero(HALF), np.flatnonzero(~HALF))] if cv is None else cv
    candidates = {"candidate": candidate, "dummy": "dummy"}
    return compare_transfer(X, y, candidates=candidates, baseline="dummy", cv=cv, duplicates="ignore", **options)


def frozen(**options):
    extractor = PretrainedFeatureExtractor(**options)
    return make_pipeline(extractor, StandardScaler(), LogisticRegression(max_iter=1000))


def tuned(ensemble=False, augment=None, **options):
    return FineTuneClassifier(augment=augment, ensemble=ensemble, **options)


@pytest.mark.parametrize(
    ("candidate", "expected"),
    [
        (frozen(), 40),
        (frozen(cache=False), 40),
        (make_pipeline(UNION, LogisticRegression(max_iter=1000)), 80),
        (FineTuneClassifier(unfreeze_depth=0), 20 + 20 + 20),
        (tuned(max_epochs=3), 20 + 20 * (1 + 3) + 20 + 20),
        (tuned(max_epochs=3, cache=False), 20 + 20 * (1 + 3) + 20 + 20),
        (tuned(max_epochs=3, weights=None), 20 * 3 + 20),
        (tuned(max_epochs=2, unfreeze_depth="all"), 20 * (1 + 2) + 20),
        (tuned(max_epochs=2, early_stopping=True, validation_fraction=0.2), 20 + 20 * (1 + 2) + 20 + 20),
        # Plain, in the mirror and as two views, below the cut and above it, for nothing but the choice of plain images.
        (tuned(max_epochs=3, augment="auto"), 20 * 4 + 20 * (4 + 1 + 3) + 20 + 20),
        # The probe needs the training images above the cut, and so does the head once training has ended.
        (tuned(max_epochs=3, ensemble=True), 20 + 20 * (1 + 1 + 3 + 1) + 20 + 20),
        (FineTuneClassifier(max_epochs=3, weights=None), 20 * (2 + 3) + 20),
    ],
    ids=[
        *("frozen", "no store", "union", "probe", "tuned", "tuned, no store", "scratch", "all", "early stopping"),
        *("views given up", "average", "views, scratch"),
    ],
)
def test_images_through_the_network_are_those_that_really_go_through_it(candidate, expected, counted):
    (run,) = compare(candidate, scoring=["accuracy", "neg_log_loss"]).runs_of("candidate")
    assert run.n_images_through_network == counted.total() == expected


@pytest.mark.parametrize(
    ("options", "below", "above"),
    [
        # Below the cut: plain, mirrored, and a view for each epoch; above it the first two once more, and two views.
        ({"max_epochs": 3}, 2 + 3, 4 + 1 + 3),
        ({"max_epochs": 3, "cache": False}, 3 + 2 + 3, 4 + 1 + 3),
        ({"max_epochs": 12, "n_views": 4}, 2 + 4, 4 + 1 + 12),
    ],
    ids=["views", "views, no store", "views in turns"],
)
def test_views_are_counted_where_they_are_computed(options, below, above, counted):
    images, labels = make_fractals(40, n_classes=2, random_state=0)
    candidates = {"candidate": tuned(augment="auto", **options), "dummy": "dummy"}
    cv = [(np.flatnonzero(HALF), np.flatnonzero(~HALF))]
    comparison = compare_transfer(images, labels, candidates=candidates, baseline="dummy", cv=cv, duplicates="ignore")
    (run,) = comparison.runs_of("candidate")
    assert run.n_images_through_network == counted.total() == 20 * (below + above) + 20 + 20


def test_what_the_store_has_is_not_counted_again(counted):
    comparison = compare(frozen(), cv=4)
    assert [run.n_images_through_network for run in comparison.runs_of("candidate")] == [40, 0, 0, 0]
    assert comparison.rows()[0].n_images_through_network == 10
    assert counted.total() == 40


def grid(n_jobs=None, **options):
    return GridSearchCV(frozen(**options), {"logisticregression__C": [0.1, 1]}, cv=2, n_jobs=n_jobs)


@pytest.mark.parametrize(
    ("candidate", "expected"),
    [
        (grid(), 40),
        (grid(cache=False), 2 * 2 * (10 + 10) + 20 + 20),
        (
            GridSearchCV(tuned(weights=None, max_epochs=2), {"batch_size": [5, 10]}, cv=2),
            4 * (10 * 2 + 10) + 20 * 2 + 20,
        ),
        # The probe is best, so the second training is another probe.
        (tuned(max_epochs=2, early_stopping=True, refit=True), 20 + (18 + 2 + 20 * 2) + 20 + 20 + 20),
    ],
    ids=["search", "search, no store", "search over trainings", "refit"],
)
def test_what_a_search_or_a_second_training_takes_is_counted(candidate, expected, counted):
    (run,) = compare(candidate).runs_of("candidate")
    assert run.n_images_through_network == counted.total() == expected


@pytest.mark.parametrize("backend", ["threading", pytest.param("loky", marks=pytest.mark.slow)])
def test_what_a_search_takes_in_several_jobs_is_not_known(backend):
    with parallel_config(backend):
        row, dummy = compare(grid(n_jobs=2)).rows()
    assert row.n_images_through_network is None
    assert row.n_parameters > 0
    assert (dummy.n_images_through_network, dummy.n_parameters) == (None, None)


@pytest.mark.slow
def test_a_search_over_vectors_in_several_jobs_hides_nothing(counted):
    search = GridSearchCV(LogisticRegression(max_iter=1000), {"C": [0.1, 1]}, cv=2, n_jobs=2)
    (run,) = compare(make_pipeline(PretrainedFeatureExtractor(), search)).runs_of("candidate")
    assert run.n_images_through_network == counted.total() == 40


def test_fits_side_by_side_count_their_own_images():
    candidates = {"frozen": frozen(cache=False), "layer": frozen(cache=False, layer=1), "dummy": "dummy"}
    with parallel_config("threading"):
        comparison = compare_transfer(
            X, Y, candidates=candidates, baseline="dummy", cv=4, n_jobs=3, duplicates="ignore"
        )
    assert [run.n_images_through_network for run in comparison.runs if run.candidate != "dummy"] == [40] * 8


def test_parameters_to_keep_are_those_below_the_layer_in_use_or_of_the_whole_network():
    extractor = PretrainedFeatureExtractor().fit(X)
    stages = [sum(p.numel() for p in stage.parameters()) for stage in extractor.backbone_.stages]
    assert compare(frozen()).rows()[0].n_parameters == sum(stages)
    names = extractor.backbone_.stage_names
    assert compare(frozen(layer=names[1])).rows()[0].n_parameters == sum(stages[:2])
    alone, averaged = (compare(tuned(max_epochs=1, ensemble=ensemble)).rows()[0] for ensemble in (False, True))
    assert alone.n_parameters == sum(stages) + 2 * (extractor.embedding_dim_ + 1)
    assert alone.n_trained_parameters < alone.n_parameters
    assert averaged.n_parameters > alone.n_parameters + stages[-1]


def test_every_epoch_of_a_training_is_told():
    model = FineTuneClassifier(max_epochs=3, early_stopping=True)
    (history,) = compare(model).histories("candidate")
    assert [entry["epoch"] for entry in history] == [1, 2, 3]
    assert all({"train_loss", "valid_loss"} <= entry.keys() for entry in history)
    assert compare(frozen()).histories("candidate") == [None]
    assert compare(FineTuneRegressor(unfreeze_depth=0), y=Y + 0.5).histories("candidate") == [None]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere nobody tells")
def test_peak_memory_is_that_of_the_time_between():
    reset_peak_memory()
    before = peak_memory()
    with mmap.mmap(-1, 40_000_000) as block:  # an array might get memory that the process has already
        block.write(b"1" * 40_000_000)
    assert peak_memory() - before > 30_000_000
    reset_peak_memory()
    assert peak_memory() - before < 30_000_000


def test_without_a_figure_of_the_system_there_is_none(monkeypatch, tmp_path):
    monkeypatch.setattr("sktl.comparison._measuring.RESET", tmp_path / "none" / "clear_refs")
    reset_peak_memory()
    assert peak_memory() is None
    assert compare(frozen()).rows()[0].peak_memory is None
