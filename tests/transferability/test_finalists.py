"""Which networks are fine-tuned besides: the best by score, the best of the others by prior, then the next by score."""

from dataclasses import replace

import pytest

from sktl.fine_tuning import FineTuneClassifier, FineTuneRegressor
from sktl.transferability import _finalists
from sktl.transferability._finalists import check_names, choose_finalists, fine_tune
from sktl.transferability._measuring import NetworkMeasures

SCORES = {"a": 0.9, "b": 0.8, "c": 0.7, "d": 0.6}


@pytest.mark.parametrize(
    ("n_finalists", "top1", "chosen"),
    [
        (0, {"a": 70.0}, []),
        (1, {"a": 70.0}, ["a"]),
        (2, {}, ["a", "b"]),
        (2, {"c": 70.0, "d": 75.0}, ["a", "d"]),
        (2, {"a": 80.0}, ["a", "b"]),  # best by both: the next by score joins
        (2, {"a": 80.0, "c": 70.0}, ["a", "c"]),
        (3, {"d": 75.0}, ["a", "d", "b"]),
        (9, {"c": 75.0}, ["a", "c", "b", "d"]),
    ],
)
def test_finalists(make_ranking, n_finalists, top1, chosen):
    comparison = make_ranking({name: (share, 0.01) for name, share in SCORES.items()}).comparison
    measures = {name: NetworkMeasures(0.01, 0.5, -0.5, top1.get(name)) for name in SCORES}
    found = choose_finalists(comparison, measures, n_finalists)
    assert list(found) == chosen
    if len(chosen) > 1:
        reason = found[chosen[1]]
        assert ("published accuracy on ImageNet-1k" in reason) == (chosen[1] in top1)
        assert ("since no published accuracy is known" in reason) == (chosen[1] not in top1)


def test_no_network_has_the_name_of_a_finalist():
    check_names({"a": None, "b, fine-tuned": None})
    with pytest.raises(ValueError, match="must not be called 'a, fine-tuned' beside 'a'"):
        check_names({"a": None, "a, fine-tuned": None})


@pytest.mark.parametrize(("task", "kind"), [("classification", FineTuneClassifier), ("regression", FineTuneRegressor)])
def test_finalists_train_their_top_stage_and_the_call_stays_that_of_the_ranking(make_ranking, monkeypatch, task, kind):
    comparison = make_ranking({"a": (0.9, 0.01)}).comparison
    settings = {**comparison.settings, "task": task, "call": "the ranking"}
    made = {}

    def instead(comparison, X, estimators, **running):
        made.update(estimators, running=running)
        return replace(comparison, settings={**comparison.settings, "call": "another"})

    monkeypatch.setattr(_finalists, "with_candidates", instead)
    shared = {"image_size": 64, "batch_size": 16}
    found = fine_tune(replace(comparison, settings=settings), [], {"a": "tiny_fractal"}, shared, n_jobs=2)
    assert found.settings["call"] == "the ranking"
    estimator, running = made["a, fine-tuned"], made["running"]
    assert type(estimator) is kind
    assert (estimator.backbone, estimator.image_size, estimator.batch_size) == ("tiny_fractal", 64, 16)
    assert estimator.unfreeze_depth == kind().unfreeze_depth
    assert running == {"n_jobs": 2}
