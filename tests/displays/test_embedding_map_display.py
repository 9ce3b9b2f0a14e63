import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktl import PretrainedFeatureExtractor
from sktl.datasets import make_fractals
from sktl.displays import EmbeddingMapDisplay


@pytest.fixture
def embeddings():
    return np.random.default_rng(0).normal(size=(40, 6)) * [5, 3, 1, 1, 1, 1]


def test_positions_are_scikit_learns_principal_components(embeddings):
    display = EmbeddingMapDisplay.from_embeddings(embeddings, np.arange(40) % 3)
    pca = PCA(2)
    expected = pca.fit_transform(embeddings)
    np.testing.assert_allclose(np.abs(display.points), np.abs(expected), atol=1e-9)
    shares = [
        f"component {i} ({100 * x:.0f} % of the variance)" for i, x in enumerate(pca.explained_variance_ratio_, 1)
    ]
    assert list(display.axis_names) == shares
    ax = display.plot().ax_
    assert [ax.get_xlabel(), ax.get_ylabel()] == shares


def test_names_stand_at_the_middles_of_their_classes(embeddings):
    y = np.array(["ant", "bee"])[np.arange(40) % 2]
    display = EmbeddingMapDisplay.from_embeddings(embeddings, y).plot()
    places = {text.get_text(): text.xy for text in display.ax_.texts}
    for label in ("ant", "bee"):
        np.testing.assert_allclose(places[label], np.median(display.points[y == label], axis=0))


def test_classes_beyond_the_eighth_have_another_shape(embeddings):
    ax = EmbeddingMapDisplay.from_embeddings(embeddings, np.arange(40) % 20).plot().ax_
    looks = [(tuple(dots.get_facecolor()[0]), dots.get_paths()[0].vertices.tobytes()) for dots in ax.collections]
    assert len(set(looks)) == 20


def test_numbers_have_a_scale_of_colours(embeddings):
    y = np.linspace(0, 1, 40)
    display = EmbeddingMapDisplay.from_embeddings(embeddings, y).plot()
    np.testing.assert_allclose(display.ax_.collections[0].get_array(), y)
    assert len(display.figure_.axes) == 2


def test_images_are_embedded_as_the_extractor_does():
    X, y = make_fractals(20, n_classes=2, random_state=0)
    display = EmbeddingMapDisplay.from_images(X, y, target_names=["ant", "bee"])
    Z = PretrainedFeatureExtractor().fit_transform(X)
    np.testing.assert_allclose(display.points, EmbeddingMapDisplay.from_embeddings(Z, y).points)
    assert {text.get_text() for text in display.plot().ax_.texts} == {"ant", "bee"}


def test_an_extractor_is_fitted_on_a_copy_and_a_fitted_one_is_used_as_it_is(pictures):
    y = np.arange(30) % 2
    extractor = make_pipeline(PretrainedFeatureExtractor(), StandardScaler())
    display = EmbeddingMapDisplay.from_images(pictures, y, extractor=extractor)
    assert not hasattr(extractor[-1], "mean_")
    extractor.fit(pictures)
    again = EmbeddingMapDisplay.from_images(pictures, y, extractor=extractor)
    np.testing.assert_allclose(display.points, again.points)


def test_a_classifier_is_no_extractor(pictures):
    with pytest.raises(TypeError, match=r"pass all but the last step: pipeline\[:-1\]"):
        EmbeddingMapDisplay.from_images(pictures, np.arange(30) % 2, extractor=LogisticRegression())


def test_positions_of_any_other_method_can_be_drawn(embeddings):
    names = ("t-SNE 1", "t-SNE 2")
    ax = EmbeddingMapDisplay(embeddings[:, :2], np.arange(40) % 3, axis_names=names).plot().ax_
    assert (ax.get_xlabel(), ax.get_ylabel()) == names


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"y": [0, 1]}, "inconsistent numbers of samples"),
        ({"Z": np.zeros((40, 1))}, "minimum of 2 is required"),
        ({"Z": np.full((40, 2), np.nan)}, "NaN"),
        ({"target_names": ["one"]}, "a name for each of the 2 classes"),
    ],
)
def test_what_cannot_be_drawn_is_refused(embeddings, options, words):
    with pytest.raises(ValueError, match=words):
        EmbeddingMapDisplay.from_embeddings(**{"Z": embeddings, "y": np.arange(40) % 2} | options)


def test_equal_embeddings_are_a_point():
    display = EmbeddingMapDisplay.from_embeddings(np.ones((5, 3)), [0, 0, 1, 1, 1]).plot()
    np.testing.assert_allclose(display.points, 0)
    display.figure_.canvas.draw()


def test_draws_into_the_axes_passed_and_has_a_frame(embeddings):
    _, axes = plt.subplots(2, 1)
    display = EmbeddingMapDisplay.from_embeddings(embeddings, np.arange(40) % 2).plot(ax=axes[0])
    assert display.ax_ is axes[0]
    assert list(display.frame().columns) == ["component_1", "component_2", "y"]
    assert len(display.frame()) == 40
