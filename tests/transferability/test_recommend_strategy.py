"""recommend_strategy from end to end, on small pictures, with seconds that are told rather than measured."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sktl import FineTuneClassifier, FineTuneRegressor, PretrainedClassifier
from sktl.backbones import load_backbone
from sktl.comparison import CandidateFailedWarning, compare_transfer
from sktl.datasets import make_fractals
from sktl.exceptions import BadImagesError
from sktl.inference.forward_passes import counted_forward_passes
from sktl.reports._reproduce import code_to_run_again
from sktl.transferability import StrategyCost, recommend_strategy
from sktl.transferability import _recommend as recommending

STAGES = ("stem", "stage1", "stage2", "stage3", "stage4")
DIGITS, NUMBERS = (part[:48] for part in load_digits(return_X_y=True))
LABELS = NUMBERS % 2
OPTIONS = {"cv": 2, "max_epochs": 1, "value_range": (0, 16), "duplicates": "ignore"}


def told(comparison, X, strategies, network):
    """Seconds that grow from one strategy to the next."""
    return {one.name: StrategyCost(float(place), 10.0 * place) for place, one in enumerate(strategies)}


@pytest.fixture(autouse=True)
def told_seconds(monkeypatch):
    monkeypatch.setattr(recommending, "predict_costs", told)


def recommend(X=DIGITS, y=LABELS, backbone="tiny_fractal", **options):
    return recommend_strategy(X, y, backbone, **OPTIONS | options)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """One recommendation with everything tried, and the forward passes that it took beyond those of its fits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKTL_CACHE_DIR", str(tmp_path_factory.mktemp("store")))
        patch.setattr(recommending, "predict_costs", told)
        with counted_forward_passes() as passes:
            result = recommend(budget=1e9)
        yield result, passes.n_images


def test_all_strategies_are_there_in_their_order(found):
    result, _ = found
    frozen = [f"frozen_{stage}_{how}" for how in ("avg+std", "avg") for stage in STAGES]
    names = [one.name for one in result.strategies]
    assert names == [
        "frozen",
        *frozen,
        "frozen_all_avg",
        "fine_tuned_1",
        "fine_tuned_2",
        "fine_tuned_all",
        "from_scratch",
    ]
    assert set(result.untried) | set(result.comparison.candidates) >= set(names)


def test_one_pass_gives_the_features_of_all_stages(found):
    result, others = found
    runs = [run for run in result.comparison.runs if run.candidate == "frozen"]
    assert sum(run.n_images_through_network for run in runs) == len(DIGITS)
    assert others == 0


@pytest.mark.slow
def test_trained_strategies_are_those_of_compare_transfer_on_the_same_folds_and_seeds(found):
    result, _ = found
    candidates = {name: result.to_estimator(name) for name in ("frozen", "fine_tuned_1", "fine_tuned_all")}
    named = {"cv": 2, "value_range": (0, 16), "duplicates": "ignore", "baseline": "frozen"}
    alone = compare_transfer(DIGITS, LABELS, candidates=candidates, **named)
    assert alone.seeds == result.comparison.seeds
    for name, scores in alone.scores.items():
        np.testing.assert_array_equal(scores, result.comparison.scores[name])


@pytest.mark.parametrize("name", ["frozen_stage2_avg+std", "frozen_stem_avg", "frozen_all_avg"])
def test_a_frozen_strategy_is_the_estimator_that_it_gives(found, name):
    result, _ = found
    own = compare_transfer(
        DIGITS, LABELS, cv=2, duplicates="ignore", baseline="own",
        candidates={"own": result.to_estimator(name), "dummy": "dummy"},
    )  # fmt: skip
    np.testing.assert_array_equal(own.scores["own"], result.comparison.scores[name])
    np.testing.assert_array_equal(own.out_of_fold("own")["y_pred"], result.comparison.out_of_fold(name)["y_pred"])


def test_estimators_are_unfitted_and_new_each_time(found):
    result, _ = found
    for one in result.strategies:
        model = result.to_estimator(one.name)
        assert model is not result.to_estimator(one.name)
        with pytest.raises(Exception, match="not fitted"):
            check_is_fitted(model)
    depth = result.to_estimator("fine_tuned_2")
    assert isinstance(depth, FineTuneClassifier)
    assert (depth.unfreeze_depth, depth.max_epochs, depth.value_range) == (2, 1, (0, 16))
    assert result.to_estimator("from_scratch").weights is None
    assert result.strategy("fine_tuned_2").stages == ("stage3", "stage4")
    with pytest.raises(ValueError, match="Did you mean 'fine_tuned_1'"):
        result.to_estimator("fine_tuned_11")


def test_the_recommended_estimator_can_be_fitted(found):
    result, _ = found
    assert result.to_estimator().fit(DIGITS, LABELS).predict(DIGITS[:3]).shape == (3,)


def test_the_curve_of_labels_ends_where_the_comparison_is(found):
    result, _ = found
    curve = result.labels
    np.testing.assert_array_equal(curve.n_labels, [6, 12, 24])
    np.testing.assert_array_equal(curve.scores[-1], result.comparison.scores["frozen"])
    assert curve.gain == pytest.approx(np.mean(curve.scores[-1] - curve.scores[-2]))
    assert curve.low < curve.gain < curve.high


def test_rows_and_frame_hold_all_that_is_known(found):
    result, _ = found
    rows = {row.strategy: row for row in result.rows()}
    runs = result.comparison.runs_of("fine_tuned_1")
    assert rows["fine_tuned_1"].measured_seconds == pytest.approx(sum(r.fit_seconds + r.predict_seconds for r in runs))
    assert rows["frozen"].measured_seconds is None
    assert rows[result.recommended].difference is None
    others = [row for row in rows.values() if row.mean is not None and row.strategy != result.recommended]
    for row in others:
        assert row.difference == pytest.approx(row.mean - rows[result.recommended].mean)
    frame = result.frame()
    assert frame.index.tolist() == list(rows)
    assert frame.loc["fine_tuned_1", "predicted_seconds"] == rows["fine_tuned_1"].predicted_seconds


def test_a_recommendation_is_written_as_json(found):
    result, _ = found
    content = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert content["recommended"] == result.recommended
    assert content["quadrant"]["size"] == "small"
    assert len(content["strategies"]) == len(result.strategies)
    assert content["comparison"]["baseline"] == "frozen"


def test_the_best_score_is_corrected_for_the_choice(found):
    result, _ = found
    tried = [one.name for one in result.strategies if one.name in result.comparison.scores]
    best = max(result.comparison.scores[name].mean() for name in tried)
    assert len(result.corrected.chosen) == len(tried)
    assert result.corrected.uncorrected == pytest.approx(best)
    assert result.corrected.score < best


def test_the_textbook_stands_beside_the_data(found):
    result, _ = found
    assert "Textbook: this is small and" in repr(result)
    assert f"Your data say: {result.strategy().words}." in " ".join(repr(result).split())
    assert "<div class='sktl-strategies'>" in result._repr_html_()


def test_a_report_of_the_comparison_has_the_code_that_makes_it_again(found):
    result, _ = found
    code, needed = code_to_run_again(result.comparison)
    assert "from sktl import recommend_strategy" in code
    assert "max_epochs=1," in code
    assert ").comparison\nprint(comparison)" in code
    assert needed == []


# ---- budgets, files, and data of other kinds


def test_without_a_budget_nothing_is_trained_and_the_result_says_what_it_would_cost():
    result = recommend(budget=0)
    assert result.recommended == "frozen"
    assert list(result.untried) == ["fine_tuned_1", "fine_tuned_2", "fine_tuned_all", "from_scratch"]
    assert "its folds would take about 120 s" in result.untried["fine_tuned_1"]
    assert "Not tried: 'fine_tuned_1' (its folds would take" in " ".join(repr(result).split())


@pytest.mark.slow
def test_a_file_of_an_earlier_call_is_gone_on_with(tmp_path):
    path = tmp_path / "fits.jsonl"
    first = recommend(budget=1e9, resume=path)
    n_lines = len(path.read_text().splitlines())
    again = recommend(budget=0, resume=path)  # what is in the file needs none
    assert len(path.read_text().splitlines()) == n_lines
    assert again.comparison.candidates == first.comparison.candidates
    for name, scores in first.comparison.scores.items():
        np.testing.assert_array_equal(scores, again.comparison.scores[name])


@pytest.mark.slow
def test_numbers_are_a_regression():
    result = recommend(y=NUMBERS + 0.5, budget=1e9)
    assert result.comparison.scoring == "r2"
    assert isinstance(result.to_estimator("fine_tuned_1"), FineTuneRegressor)
    assert result.quadrant.similarity is not None
    assert result.corrected is not None


@pytest.mark.slow
def test_a_score_that_predictions_do_not_tell_is_not_corrected():
    result = recommend(budget=0, scoring="neg_log_loss")
    assert result.corrected is None
    assert "rather too high" in repr(result)


@pytest.mark.slow
def test_near_copies_that_are_kept_together_are_drawn_together(monkeypatch):
    drawn = []
    monkeypatch.setattr(recommending, "corrected_for_choice", lambda *args: drawn.append(args[-1]))
    result = recommend(np.tile(DIGITS[:24], (2, 1)), np.tile(LABELS[:24], 2), budget=0, duplicates="group")
    (groups,) = drawn
    np.testing.assert_array_equal(groups[:24], groups[24:])
    np.testing.assert_array_equal(groups, result.comparison.groups)


def test_groups_are_kept_together():
    groups = np.arange(48) // 2
    result = recommend(budget=0, groups=groups)
    for train, test in result.comparison.splits:
        assert not set(groups[train]) & set(groups[test])


@pytest.mark.slow
def test_images_that_cannot_be_read_are_left_out(tmp_path):
    paths = []
    for number, image in enumerate(DIGITS[:24]):
        paths.append(str(tmp_path / f"{number}.png"))
        Image.fromarray((image.reshape(8, 8) * 15).astype(np.uint8)).save(paths[-1])
    (tmp_path / "5.png").write_bytes(b"not an image")
    options = {"y": LABELS[:24], "budget": 0, "value_range": None}
    with pytest.raises(BadImagesError, match=r"5\.png"):
        recommend(paths, **options)
    result = recommend(paths, on_bad_image="skip", **options)
    assert all(5 not in np.concatenate(split) for split in result.comparison.splits)
    assert "1 images could not be read" in repr(result)


@pytest.mark.slow
def test_classes_that_a_quarter_of_the_labels_has_not_all():
    assert recommend(y=NUMBERS, budget=0).labels.n_labels.tolist() == [12, 24]


@pytest.mark.slow
def test_very_few_images():
    result = recommend(DIGITS[:8], LABELS[:8], budget=0)
    assert result.labels.n_labels.tolist() == [2, 4]  # a quarter would be a single one
    assert recommend(DIGITS[:4], LABELS[:4], budget=0).labels.n_labels.tolist() == [2]


class TwoStages(nn.Module):
    """A network of one's own, without batch norm."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.Conv2d(4, 8, 3, 2), nn.ReLU())
        self.head = nn.Linear(8, 3)

    def forward(self, images):
        return self.head(self.features(images).mean((2, 3)))


@pytest.mark.slow
def test_a_small_network_of_ones_own():
    result = recommend(backbone=TwoStages(), image_size=32, budget=1e9)
    depths = [one.depth for one in result.strategies if one.kind == "fine-tuned"]
    assert depths[-1] == "all"
    assert set(result.comparison.scores) >= {one.name for one in result.strategies if one.name not in result.untried}


@pytest.mark.slow
def test_a_network_of_one_stage_is_frozen_or_trained_as_a_whole():
    backbone = load_backbone(TwoStages(), stages=[("body", ["features"])])
    result = recommend(backbone=backbone, image_size=32, budget=1e9)
    assert [one.name for one in result.strategies if one.kind != "frozen"] == ["fine_tuned_all", "from_scratch"]
    assert [one.name for one in result.strategies if one.kind == "frozen"] == ["frozen", "frozen_all_avg"]
    assert result.peak == "body"
    assert "Of single stages" not in repr(result)


@pytest.mark.slow
def test_images_that_the_network_has_names_for_may_do_without_any_training():
    images, _ = make_fractals(24, random_state=0)
    record = load_backbone("tiny_fractal")
    named = replace(record, categories=tuple(f"formula {number}" for number in record.categories), reload=None)
    y = PretrainedClassifier(named).fit(images).predict(images)
    y = np.where(np.arange(24) % 2, y[0], y[1])  # half of them right by chance: what matters is that it is tried
    result = recommend_strategy(images, y, named, budget=0, cv=2, duplicates="ignore")
    assert result.strategies[0].name == "as_it_is"
    expected = np.mean(PretrainedClassifier(named).fit(images).predict(images) == y)
    assert result.comparison.scores["as_it_is"].mean() == pytest.approx(expected)


@pytest.mark.slow
def test_a_strategy_that_fails_is_left_out(monkeypatch):
    def diverge(self, *args, **options):
        raise RuntimeError("diverged")

    monkeypatch.setattr(FineTuneClassifier, "fit", diverge)
    with pytest.warns(CandidateFailedWarning, match="diverged"):
        result = recommend(budget=1e9)
    assert result.recommended == "frozen"
    assert "'fine_tuned_1' failed and is left out" in " ".join(repr(result).split())


@pytest.mark.parametrize("budget", [-1, "long", None])
def test_a_budget_is_a_number_of_seconds(budget):
    with pytest.raises(ValueError, match="budget"):
        recommend(budget=budget)


def test_weights_must_be_pretrained():
    with pytest.raises(ValueError, match="weights must name pretrained weights"):
        recommend(weights=None)
