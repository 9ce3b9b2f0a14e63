import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.ensemble import IsolationForest

from sktl import PatchAnomalyDetector
from sktl.displays import AnomalyMapDisplay


@pytest.fixture(scope="module")
def normal():
    return np.random.default_rng(0).integers(90, 110, (14, 40, 60, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def detector(normal):
    return PatchAnomalyDetector(random_state=0, cache=False).fit(normal[:10])


@pytest.fixture
def X(normal):
    X = normal[10:].copy()
    X[2, 4:14, 40:54] = (255, 255, 0)
    return X


def test_the_most_abnormal_come_first_with_what_the_detector_says(detector, X):
    display = AnomalyMapDisplay.from_estimator(detector, X, n=3)
    decisions = detector.decision_function(X)
    assert display.indices.tolist() == np.argsort(decisions)[:3].tolist()
    assert display.indices[0] == 2
    np.testing.assert_array_equal(display.decisions, decisions[display.indices])
    np.testing.assert_array_equal(display.maps, detector.anomaly_map(X[display.indices]))
    assert display.frame().to_dict("list") == {
        "index": display.indices.tolist(),
        "decision": display.decisions.tolist(),
    }


def test_the_defect_is_coloured_where_it_is_and_words_are_under_the_picture(detector, X):
    display = AnomalyMapDisplay.from_estimator(detector, X).plot()
    (shown,) = display.axes_[0].get_images()
    changed = np.abs(shown.get_array().astype(int) - X[2]).sum(2)
    rows, columns = np.nonzero(changed >= 0.5 * changed.max())
    assert 0 <= rows.mean() < 18
    assert 36 < columns.mean() < 58
    labels = [tile.get_xlabel() for tile in display.axes_]
    assert labels[0].startswith("X[2]: anomaly (-")
    assert len(labels) == 4
    display.figure_.canvas.draw()


def test_all_pictures_share_one_scale():
    pictures, maps = [np.full((8, 8, 3), 200, np.uint8)] * 2, np.zeros((2, 8, 8), np.float32)
    maps[0, 2, 2], maps[1, 2, 2] = 4, 2
    display = AnomalyMapDisplay(pictures, maps, np.array([-1.0, 1.0]), indices=np.array([5, 3])).plot()
    strong, weak = (200.0 - tile.get_images()[0].get_array()[2, 2].astype(float) for tile in display.axes_)
    np.testing.assert_allclose(weak, strong / 2, atol=1)
    assert [tile.get_xlabel() for tile in display.axes_] == ["X[5]: anomaly (-1.00)", "X[3]: normal (+1.00)"]


def test_draws_into_the_axes_passed(detector, X):
    _, ax = plt.subplots()
    assert AnomalyMapDisplay.from_estimator(detector, X[:1]).plot(ax=ax).figure_ is ax.figure


def test_refuses_what_makes_no_maps(detector, X):
    with pytest.raises(TypeError, match=r"must make maps, with anomaly_map\. Got a IsolationForest instead"):
        AnomalyMapDisplay.from_estimator(IsolationForest(), X)
    with pytest.raises(ValueError, match=r"n must be at least 1\. Got 0 instead"):
        AnomalyMapDisplay.from_estimator(detector, X, n=0)
