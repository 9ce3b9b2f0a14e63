"""domain_shift: nothing where there is nothing, the shift where there is one, and the images that say it."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from sktl import LinearProbeClassifier, PretrainedFeatureExtractor
from sktl._splits import make_seeds
from sktl.comparison import corrected_interval
from sktl.domain_adaptation import DomainShift, domain_shift
from sktl.feature_extraction import PixelFeatures

VECTORS = {"extractor": "passthrough"}


def gaussians(n_source, n_target, shift, seed=0, width=20):
    rng = np.random.default_rng(seed)
    source, target = rng.normal(size=(n_source, width)), rng.normal(size=(n_target, width))
    target[:, 0] += shift
    return source, target


def test_the_score_is_the_mean_of_the_folds_with_the_corrected_interval():
    source, target = gaussians(40, 60, 1.0)
    X, y = np.concatenate([source, target]), np.repeat([0, 1], [40, 60])
    scores, aucs = np.zeros(100), []
    (seed,) = make_seeds(3, "shuffle", 1)
    for train, test in StratifiedKFold(5, shuffle=True, random_state=seed).split(X, y):
        model = LinearProbeClassifier(class_weight="balanced").fit(X[train], y[train])
        scores[test] = model.predict_proba(X[test])[:, 1]
        aucs.append(roc_auc_score(y[test], scores[test]))
    shift = domain_shift(source, target, random_state=3, **VECTORS)
    assert shift.auc == pytest.approx(np.mean(aucs))
    assert (shift.low, shift.high) == pytest.approx(corrected_interval(aucs, 80, 20))
    np.testing.assert_allclose(np.concatenate([shift.source_scores, shift.target_scores]), scores)


@pytest.mark.slow
def test_the_interval_covers_chance_where_there_is_no_shift():
    found = [domain_shift(*gaussians(30, 30, 0, seed), **VECTORS) for seed in range(25)]
    n_false = sum(not shift.low <= 0.5 <= shift.high for shift in found)
    assert n_false <= 5  # 5 % are one, and 6 or more of 25 come once in a thousand
    assert abs(np.mean([shift.auc for shift in found]) - 0.5) < 0.08


@pytest.mark.parametrize("n_repeats", [1, 3])
def test_a_shift_is_found_and_the_moved_images_tell_it(n_repeats):
    source, target = gaussians(50, 40, 0)
    target[:8] += 6
    shift = domain_shift(source, target, n_repeats=n_repeats, **VECTORS)
    assert set(shift.most_telling(8)) == set(range(8))
    assert set(shift.least_telling(30)) <= set(range(8, 40))
    assert domain_shift(source, target + 2, n_repeats=n_repeats, **VECTORS).low > 0.5


def test_images_are_embedded_and_told_apart():
    images = load_digits().images[:80].astype(np.uint8) * 15
    source, target = images[:40], 255 - images[40:]
    shift = domain_shift(source, target)
    assert shift.auc > 0.95
    assert "the images of the domains can be told apart" in str(shift)
    extractor = PretrainedFeatureExtractor(layer="all", pooling="avg+std")
    vectors = extractor.fit(source).transform(source), extractor.transform(target)
    np.testing.assert_allclose(domain_shift(*vectors, **VECTORS).target_scores, shift.target_scores)
    np.testing.assert_allclose(domain_shift(source, target, extractor=PixelFeatures(8)).auc, 1, atol=0.05)


def test_numbers_of_both_are_on_the_scale_of_the_source():
    """Taken apart, each would be stretched to black and white by itself, and the shift be gone."""
    rng = np.random.default_rng(0)
    bright, dark = rng.uniform(0, 200, (30, 12, 12)), rng.uniform(0, 60, (30, 12, 12))
    shift = domain_shift(bright, dark, extractor=PixelFeatures(4))
    assert shift.auc > 0.99


def test_domains_without_an_error_have_an_interval_that_knows_their_size():
    few, many = (domain_shift(*gaussians(n, n + 5, 50), **VECTORS) for n in (10, 100))
    assert (few.auc, few.high, many.auc, many.high) == (1, 1, 1, 1)
    assert few.low == pytest.approx(0.025 ** (1 / 10))
    assert many.low == pytest.approx(0.025 ** (1 / 100))


def test_copies_in_one_group_are_not_recognised():
    """Ten pictures of each domain, ten times each: without groups every one of them is known from training."""
    source, target = (np.repeat(part, 10, axis=0) for part in gaussians(10, 10, 0, width=60))
    groups = np.repeat(np.arange(20), 10)
    assert domain_shift(source, target, **VECTORS).auc > 0.95
    assert domain_shift(source, target, groups=groups, **VECTORS).auc < 0.85


def test_words_say_what_is_known():
    nothing = np.zeros(2)
    assert str(DomainShift(0.5, 0.4, 0.6, nothing, nothing)) == (
        "AUC 0.500 (95 % interval 0.400 to 0.600): nothing shows that the images of the domains can be told apart."
    )
    assert repr(DomainShift(0.5, np.nan, np.nan, nothing, nothing)).startswith("AUC 0.500: nothing shows")


def test_what_makes_no_sense_is_refused():
    source, target = gaussians(20, 20, 1)
    with pytest.raises(ValueError, match=r"Every fold must have images of both domains.*use fewer folds"):
        domain_shift(source, target, groups=np.repeat([0, 1, 2, 3], 10), cv=4, **VECTORS)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        domain_shift(source, target, groups=np.zeros(20), **VECTORS)
    with pytest.raises(ValueError, match="'extractor' parameter of domain_shift must be an object implementing"):
        domain_shift(source, target, extractor="frozen")
