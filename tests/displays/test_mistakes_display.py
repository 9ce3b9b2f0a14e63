from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktl import PretrainedFeatureExtractor
from sktl.displays import MistakesDisplay, class_activation_map
from sktl.displays._map_overlay import overlaid
from sktl.exceptions import ImageReadError

WRONG = {"fine_tuned": {0: (1, 0.95), 3: (1, 0.8), 7: (0, 0.99), 20: (1, 0.8)}}


@pytest.fixture
def comparison(make_comparison):
    return make_comparison(wrong=WRONG)


def test_the_most_confident_come_first_and_ties_in_the_order_of_X(comparison, pictures):
    display = MistakesDisplay.from_comparison(comparison, pictures)
    assert [one.index for one in display.mistakes] == [7, 0, 3, 20]
    assert display.mistakes[0] == type(display.mistakes[0])(7, "1", "0", 0.99, 1, 1)
    assert (display.n_mistakes, display.n_images) == (4, 30)


def test_pictures_are_those_of_X(comparison, pictures):
    display = MistakesDisplay.from_comparison(comparison, pictures)
    for mistake, picture in zip(display.mistakes, display.pictures, strict=True):
        np.testing.assert_array_equal(picture, pictures[mistake.index])


def test_only_so_many_are_shown_and_all_are_counted(comparison, pictures):
    display = MistakesDisplay.from_comparison(comparison, pictures, n=2, target_names=["ant", "bee", "cat"])
    assert [(one.true, one.predicted) for one in display.mistakes] == [("bee", "ant"), ("ant", "bee")]
    assert display.n_mistakes == 4


def test_an_image_that_was_tested_several_times_is_shown_once(comparison, pictures):
    again = tuple(replace(run, split=run.split + 3, confidence=[0.5] * 10) for run in comparison.runs)
    twice = replace(comparison, runs=comparison.runs + again, splits=comparison.splits * 2, seeds=tuple(range(6)))
    display = MistakesDisplay.from_comparison(twice, pictures, "fine_tuned")
    assert [one.index for one in display.mistakes] == [7, 0, 3, 20]
    assert all((one.times_wrong, one.times_tested) == (2, 2) for one in display.mistakes)
    assert display.mistakes[1].confidence == 0.95


def test_without_probabilities_the_order_is_that_of_X(comparison, pictures):
    runs = tuple(replace(run, confidence=None) for run in comparison.runs)
    display = MistakesDisplay.from_comparison(replace(comparison, runs=runs), pictures, "fine_tuned")
    assert [one.index for one in display.mistakes] == [0, 3, 7, 20]
    assert display.mistakes[0].confidence is None
    display.plot()


def test_large_pictures_become_small_and_keep_their_shape(comparison):
    large = np.zeros((30, 300, 400, 3), dtype=np.uint8)
    display = MistakesDisplay.from_comparison(comparison, large)
    assert {picture.shape for picture in display.pictures} == {(120, 160, 3)}


def test_numbers_have_the_black_and_white_of_the_comparison(make_comparison):
    X = np.full((30, 6, 6), 8.0)
    stated = MistakesDisplay.from_comparison(make_comparison(wrong=WRONG, value_range=(0, 16)), X)
    assert set(np.unique(stated.pictures[0])) == {128}
    X[5] = 0.0
    learned = MistakesDisplay.from_comparison(make_comparison(wrong=WRONG), X)
    assert set(np.unique(learned.pictures[0])) == {255}


def test_rows_are_folded_into_pictures(make_comparison):
    rows = np.random.default_rng(0).uniform(size=(30, 12))
    comparison = make_comparison(wrong=WRONG, image_shape=(3, 4))
    assert MistakesDisplay.from_comparison(comparison, rows).pictures[0].shape == (3, 4, 3)


@pytest.mark.parametrize("kind", [list, np.array, pd.Series, lambda paths: pd.DataFrame({"path": paths})])
def test_files_are_named(comparison, pictures, tmp_path, kind):
    paths = [str(tmp_path / f"{i}.png") for i in range(30)]
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(picture).save(path)
    display = MistakesDisplay.from_comparison(comparison, kind(paths))
    assert [one.file for one in display.mistakes] == [paths[i] for i in (7, 0, 3, 20)]
    np.testing.assert_array_equal(display.pictures[0], pictures[7])


def test_a_file_that_has_gone_is_an_error(comparison):
    with pytest.raises(ImageReadError, match="image 7"):
        MistakesDisplay.from_comparison(comparison, [f"{i}.png" for i in range(30)])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n": 0}, "n must be at least 1"),
        ({"X": np.zeros((29, 4, 4))}, "the images that were compared on, 30 of them. Got 29"),
        ({"candidate": "fine_tuend"}, "Did you mean 'fine_tuned'"),
    ],
)
def test_what_does_not_fit_is_refused(comparison, pictures, options, words):
    with pytest.raises(ValueError, match=words):
        MistakesDisplay.from_comparison(comparison, **{"X": pictures} | options)


def test_numbers_are_not_mistaken(make_comparison, pictures):
    comparison = make_comparison(task="regression", y=np.linspace(0, 1, 30))
    with pytest.raises(ValueError, match="must be classification for MistakesDisplay"):
        MistakesDisplay.from_comparison(comparison, pictures)


def test_the_text_below_a_picture_says_what_is_what(comparison, pictures):
    display = MistakesDisplay.from_comparison(comparison, pictures, target_names=["a $", "b", "c"]).plot()
    assert len(display.axes_) == 4
    assert display.axes_[0].texts[0].get_text() == "→ a \\$ (99 %)\nis b\nX[7]"
    np.testing.assert_array_equal(display.axes_[0].images[0].get_array(), pictures[7])
    display.figure_.canvas.draw()


def test_without_mistakes_there_is_a_title(make_comparison, pictures):
    display = MistakesDisplay.from_comparison(make_comparison(), pictures).plot()
    assert "0 of 30 images" in display.figure_.axes[0].get_title(loc="left")
    assert len(display.frame()) == 0


def test_draws_into_the_axes_passed_and_has_a_frame(comparison, pictures):
    _, axes = plt.subplots(1, 2)
    display = MistakesDisplay.from_comparison(comparison, pictures).plot(ax=axes[1])
    assert display.figure_ is axes[1].figure
    frame = display.frame()
    assert frame["index"].tolist() == [7, 0, 3, 20]
    assert list(frame.columns)[-1] == "file"


@pytest.fixture(scope="module")
def classifier(pictures):
    model = make_pipeline(PretrainedFeatureExtractor(image_size=96), StandardScaler(), LogisticRegression(C=0.01))
    return model.fit(pictures, np.arange(30) % 3)


def test_maps_are_laid_over_what_the_network_sees_of_a_picture(comparison, pictures, classifier):
    display = MistakesDisplay.from_comparison(comparison, pictures, maps_of=classifier)
    plain = MistakesDisplay.from_comparison(comparison, pictures)
    assert plain.overlays is None
    assert plain.shown is plain.pictures
    maps = class_activation_map(classifier, pictures[[7, 0, 3, 20]], [0, 1, 1, 1])
    top, bottom, left, right = classifier[0]._preprocessing().seen_part(pictures[0])
    assert (top, bottom) == (0, 1)
    rows = np.minimum((np.arange(20) + 0.5) / 20 * 6, 5).astype(int)
    places = ((np.arange(24) + 0.5) / 24 - left) / (right - left)
    inside = (places > 0) & (places < 1)
    columns = (places[inside] * 6).astype(int)
    for picture, overlay, values in zip(display.pictures, display.overlays, maps, strict=True):
        assert overlay.shape == picture.shape
        assert overlay.dtype == np.uint8
        np.testing.assert_array_equal(overlay[:, ~inside], picture[:, ~inside])
        moved = np.abs(overlay.astype(float) - picture).sum(2)[:, inside]
        possible = np.abs(np.array([213, 94, 0]) - picture.astype(float)).sum(2)[:, inside]
        expected = 0.7 * np.clip(values, 0, None) / values.max()
        assert np.corrcoef((moved / possible).ravel(), expected[rows][:, columns].ravel())[0, 1] > 0.85
        assert 0.4 < (moved / possible).max() < 0.72
    np.testing.assert_array_equal(display.plot().axes_[0].images[0].get_array(), display.overlays[0])


def test_an_estimator_may_know_the_classes_by_their_names(comparison, pictures, classifier):
    names = ["ant", "bee", "cat"]
    named = clone(classifier).fit(pictures, np.array(names)[np.arange(30) % 3])
    first = MistakesDisplay.from_comparison(comparison, pictures, target_names=names, maps_of=classifier)
    second = MistakesDisplay.from_comparison(comparison, pictures, target_names=names, maps_of=named)
    for one, other in zip(first.overlays, second.overlays, strict=True):
        np.testing.assert_array_equal(one, other)


def test_without_mistakes_there_are_no_maps(make_comparison, pictures, classifier):
    display = MistakesDisplay.from_comparison(make_comparison(), pictures, maps_of=classifier)
    assert display.overlays == []


def test_a_map_without_a_place_for_the_class_leaves_the_picture_as_it_is(pictures):
    for values in (np.full((3, 3), -1.0), np.zeros((3, 3))):
        np.testing.assert_array_equal(overlaid(pictures[0], values, (0, 1, 0, 1)), pictures[0])
    whole = overlaid(pictures[0], np.ones((3, 3)), (0, 1, 0, 1)).astype(float)
    np.testing.assert_allclose(whole, 0.3 * pictures[0] + 0.7 * np.array([213, 94, 0]), atol=0.6)
