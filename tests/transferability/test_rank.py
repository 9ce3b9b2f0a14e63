"""rank_backbones: each image goes through each network once, on the folds and with the recipe of compare_transfer."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import make_scorer, mean_absolute_error
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktl import PretrainedFeatureExtractor, compare_transfer, rank_backbones
from sktl.backbones import Preprocessing, load_backbone
from sktl.backbones.sources._bundled import MEAN, STD
from sktl.comparison import CandidateFailedWarning
from sktl.datasets import make_fractals
from sktl.exceptions import BadImagesError, WeightsNotFoundError
from sktl.feature_extraction.frozen_pipeline import frozen_extractor
from sktl.inference.forward_passes import counted_forward_passes
from sktl.transferability import _chosen_score, _measuring, log_me, nearest_neighbour_score


@pytest.fixture(scope="module")
def images():
    """Thirty pictures of three classes, no two alike."""
    return make_fractals(30, n_classes=3, random_state=0)


@pytest.fixture(scope="module")
def random_net():
    """A second network that is as small as the bundled one."""
    return load_backbone("tiny_fractal", weights=None, random_state=7)


@pytest.fixture(scope="module")
def ranking(images, random_net, stores):
    """A ranking to be looked at from several sides."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKTL_CACHE_DIR", str(next(stores)))
        return rank_backbones(*images, {"fractals": "tiny_fractal", "other": random_net}, cv=3)


def test_scores_are_those_of_the_frozen_candidate_on_the_same_folds(images, ranking):
    recipes = ("dummy", "pixels", "frozen_random", "frozen")
    alone = compare_transfer(*images, candidates=recipes, cv=3, baseline="dummy")
    found = ranking.comparison
    for split, wanted in zip(found.splits, alone.splits, strict=True):
        np.testing.assert_array_equal(split[0], wanted[0])
    assert found.seeds == alone.seeds
    for name, wanted in {"fractals": "frozen", "frozen_random": "frozen_random", "pixels": "pixels"}.items():
        np.testing.assert_allclose(found.scores[name], alone.scores[wanted], atol=0.11)  # one image at the edge
        confidence = [run.confidence for run in found.runs_of(name)]
        np.testing.assert_allclose(confidence, [run.confidence for run in alone.runs_of(wanted)], atol=2e-3)


def test_every_image_goes_through_every_network_once(images, random_net, monkeypatch):
    """The search for near copies has its vectors from the bundled network, neighbours and evidence from the fits."""
    networks = {"fractals": "tiny_fractal", "other": random_net}
    with monkeypatch.context() as untimed, counted_forward_passes() as besides_fits:
        untimed.setattr(_measuring, "seconds_per_image", lambda *args: 0.01)
        ranking = rank_backbones(*images, networks, cv=3, n_repeats=2)
    assert besides_fits.n_images == 30
    for name, n_images in {"fractals": 0, "other": 30, "frozen_random": 30}.items():
        assert sum(run.n_images_through_network for run in ranking.comparison.runs_of(name)) == n_images
    with counted_forward_passes() as timed:
        again = rank_backbones(*images, networks, cv=3, n_repeats=2)
    assert sum(run.n_images_through_network or 0 for run in again.comparison.runs) == 0
    # Seconds come from images that go through the network for them, and never from the store.
    assert timed.n_images >= 2 * _measuring.N_TIMED
    assert all(row.seconds_per_image > 1e-5 for row in again.rows())


def test_a_search_over_networks_sends_every_image_through_each_network_once(images, random_net):
    X, y = images
    pipeline = make_pipeline(PretrainedFeatureExtractor(), StandardScaler(), LogisticRegression(max_iter=1000))
    networks = ["tiny_fractal", random_net]
    grid = {"pretrainedfeatureextractor__backbone": networks, "logisticregression__C": [0.01, 1]}
    search = GridSearchCV(pipeline, grid, cv=3)
    with counted_forward_passes() as passes:
        search.fit(X, y)
    assert passes.n_images == len(networks) * len(X)
    with counted_forward_passes() as passes:
        cross_val_score(search, X, y, cv=2)
    assert passes.n_images == 0


def test_neighbours_and_evidence_are_of_the_features_of_the_candidate(images, ranking):
    X, y = images
    features = frozen_extractor(backbone="tiny_fractal").fit_transform(X)
    row = next(row for row in ranking.rows() if row.name == "fractals")
    assert row.nearest_neighbour == nearest_neighbour_score(features, y)
    assert row.log_me == log_me(features, y)
    assert 0 < row.seconds_per_image < 10


def test_neighbours_and_evidence_of_many_images_are_of_some_at_even_distances(images, monkeypatch):
    X, y = images
    monkeypatch.setattr(_measuring, "MOST", 15)
    (row,) = rank_backbones(X, y, ["tiny_fractal"], cv=2).rows()
    some = np.linspace(0, 29, 15).astype(int)
    features = frozen_extractor(backbone="tiny_fractal").fit_transform(X[some])
    assert (row.nearest_neighbour, row.log_me) == (
        nearest_neighbour_score(features, y[some]),
        log_me(features, y[some]),
    )


def test_classes_of_two_images_are_measured_where_an_image_is_left_out():
    X, y = np.random.default_rng(0).random((24, 64)), np.repeat(np.arange(12), 2)
    folds = [np.arange(0, 24, 2), np.arange(1, 23, 2)]
    ranking = rank_backbones(X, y, ["tiny_fractal"], cv=[folds, folds[::-1]])
    features = frozen_extractor(backbone="tiny_fractal").fit_transform(X[:23])
    assert ranking.rows()[0].nearest_neighbour == nearest_neighbour_score(features, y[:23].astype(str))


@pytest.mark.slow
def test_reports_have_the_code_that_makes_the_ranking_or_its_comparison_again(ranking, tmp_path):
    of_ranking, of_comparison = (
        one.report(tmp_path / "page.html").read_text() for one in (ranking, ranking.comparison)
    )
    for page in (of_ranking, of_comparison):
        assert "from sktl import rank_backbones" in page
        assert "compare_transfer(" not in page
    assert "\n)\nprint(ranking)" in of_ranking
    assert "\n).comparison\nprint(comparison)" in of_comparison


def test_networks_of_the_same_weights_are_measured_once_and_end_in_one_group(images):
    ranking = rank_backbones(*images, {"one": "tiny_fractal", "two": load_backbone("tiny_fractal")}, cv=3)
    assert ranking.leading_group == ["one", "two"]
    assert ranking.recommended == "one"
    assert ranking.measures["one"] is ranking.measures["two"]


def test_networks_that_differ_in_their_weights_alone_take_the_same_seconds(images, random_net, ranking, monkeypatch):
    larger = replace(random_net, preprocessing=replace(random_net.preprocessing, crop_size=96))
    seconds = iter([0.1, 0.2])
    monkeypatch.setattr(_measuring, "seconds_per_image", lambda *args: next(seconds))
    records = {"fractals": "tiny_fractal", "random": random_net, "larger": larger}
    options = {"image_size": None, "image_shape": None, "value_range": None, "batch_size": 32}
    options |= {"device": "cpu", "precision": "auto"}
    found = _measuring.measure_networks(ranking.comparison, images[0], records, **options)
    assert [one.seconds_per_image for one in found.values()] == [0.1, 0.1, 0.2]
    assert found["fractals"].log_me != found["random"].log_me


def test_a_network_that_fails_is_left_out_with_a_warning(images, monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def refuse(*args, **kwargs):
        raise OSError("no connection")

    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    with pytest.warns(CandidateFailedWarning, match="'squeezenet1_1' failed on split 1 of 2"):
        ranking = rank_backbones(*images, ["squeezenet1_1", "tiny_fractal"], cv=2)
    assert ranking.networks == ["tiny_fractal"]
    assert "'squeezenet1_1' failed on split 1 and is left out" in repr(ranking)
    with pytest.warns(CandidateFailedWarning), pytest.raises(RuntimeError, match="All networks failed"):
        rank_backbones(*images, ["squeezenet1_1"], cv=2)
    with pytest.raises(RuntimeError, match="'squeezenet1_1' failed") as caught:
        rank_backbones(*images, ["squeezenet1_1", "tiny_fractal"], cv=2, on_error="raise")
    assert isinstance(caught.value.__cause__, WeightsNotFoundError)


def test_without_pretrained_weights_there_is_no_control_with_random_ones(images, random_net):
    ranking = rank_backbones(*images, {"other": random_net}, cv=2)
    assert [row.candidate for row in ranking.controls()] == ["dummy", "pixels"]
    assert "No control with random weights" in repr(ranking)


def test_image_sizes_are_those_of_the_networks_unless_told(images):
    other = load_backbone("tiny_fractal", preprocessing=Preprocessing(crop_size=40, mean=MEAN, std=STD))
    networks = {"fractals": "tiny_fractal", "other": other}
    own = rank_backbones(*images, networks, cv=2)
    assert {row.name: row.image_size for row in own.rows()} == {"fractals": 48, "other": 40}
    told = rank_backbones(*images, networks, cv=2, image_size=32)
    assert {row.image_size for row in told.rows()} == {32}


def test_numbers_are_ranked_by_r2_and_groups_stay_together(images):
    X, y = images
    groups = np.arange(30) // 2
    ranking = rank_backbones(X, y + 0.25, ["tiny_fractal"], cv=3, groups=groups)
    assert ranking.scoring == "r2"
    for train, test in ranking.comparison.splits:
        assert not set(groups[train]) & set(groups[test])
    features = frozen_extractor(backbone="tiny_fractal").fit_transform(X)
    assert ranking.rows()[0].nearest_neighbour == nearest_neighbour_score(features, y + 0.25, groups=groups)


@pytest.mark.parametrize(
    ("scoring", "is_known"),
    [
        (["accuracy", "f1_macro"], True),
        ({"error": make_scorer(mean_absolute_error, greater_is_better=False)}, True),
        (lambda estimator, X, y: estimator.score(X, y), False),
    ],
)
def test_the_score_of_the_chosen_one_is_corrected_where_predictions_tell_it(
    images, random_net, scoring, is_known, monkeypatch
):
    monkeypatch.setattr(_chosen_score, "SOME", 20)
    networks = {"fractals": "tiny_fractal", "other": random_net}
    ranking = rank_backbones(*images, networks, cv=2, scoring=scoring)
    assert (ranking.corrected is not None) == is_known
    assert ("was chosen for its score" in repr(ranking)) == is_known


def test_images_that_cannot_be_read_are_left_out_where_they_may_be(images, tmp_path):
    X, y = list(images[0]), images[1]
    (tmp_path / "broken.png").write_bytes(b"no picture")
    X[4] = str(tmp_path / "broken.png")
    with pytest.raises(BadImagesError):
        rank_backbones(X, y, ["tiny_fractal"], cv=2)
    ranking = rank_backbones(X, y, ["tiny_fractal"], cv=2, on_bad_image="skip")
    assert [bad.index for bad in ranking.comparison.bad_images] == [4]
    assert "1 of 30 images could not be read" in repr(ranking)


def test_finished_fits_are_taken_from_the_file_of_an_earlier_call(images, tmp_path, capsys):
    options = {"cv": 2, "resume": tmp_path / "fits.jsonl"}
    first = rank_backbones(*images, ["tiny_fractal"], **options)
    again = rank_backbones(*images, ["tiny_fractal"], **options, verbose=1)
    assert "8 of 8 fits were finished before" in capsys.readouterr().out
    assert again.comparison.runs == first.comparison.runs


@pytest.mark.slow
def test_jobs_and_the_order_of_networks_change_no_score(images, random_net):
    networks = {"fractals": "tiny_fractal", "other": random_net}
    one = rank_backbones(*images, networks, cv=2)
    two = rank_backbones(*images, dict(reversed(networks.items())), cv=2, n_jobs=2)
    for name in networks:
        np.testing.assert_array_equal(one.comparison.scores[name], two.comparison.scores[name])


def test_the_report_holds_the_call_that_runs_it_again(images, tmp_path):
    ranking = rank_backbones(*images, ["tiny_fractal"], cv=2, image_size=32)
    page = ranking.report(tmp_path / "ranking.html").read_text(encoding="utf-8")
    assert "from sktl import rank_backbones" in page
    assert "backbones=[&#x27;tiny_fractal&#x27;]" in page
    assert "image_size=32" in page
    assert "&lt;" not in page.split("Run it again")[1]


@pytest.mark.slow
def test_finalists_are_fine_tuned_on_the_same_folds(images, random_net):
    networks = {"fractals": "tiny_fractal", "other": random_net}
    ranking = rank_backbones(*images, networks, cv=2, finalists=2)
    first, second = ranking.finalists.items()
    assert first == (ranking.leader, "best by score")
    assert second[1] == "next by score, since no published accuracy is known"
    assert [row.candidate for row in ranking.fine_tuned()] == [f"{first[0]}, fine-tuned", f"{second[0]}, fine-tuned"]
    alone = compare_transfer(*images, candidates=("fine_tuned", "dummy"), cv=2, baseline="dummy")
    np.testing.assert_array_equal(ranking.comparison.scores["fractals, fine-tuned"], alone.scores["fine_tuned"])
    assert "rank_backbones" not in str(ranking.comparison.settings["call"]["imports"])
    assert "finalists" in ranking.comparison.settings["call"]["arguments"]
