import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sktl.label_efficiency import label_first


def clusters(sizes, *, width=24, spread=0.05, seed=0):
    """Tight clusters in random directions, the label of each being its number."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(sizes)), sizes)
    return rng.normal(size=(len(sizes), width))[y] + spread * rng.normal(size=(len(y), width)), y


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), n_images=st.integers(4, 24), k=st.integers(1, 30), n_labelled=st.integers(0, 3))
def test_each_choice_is_the_one_of_the_definition(seed, n_images, k, n_labelled):
    """Computed one pair at a time; of equal ratios any may be taken."""
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(n_images, 5)) ** 3
    known = rng.permutation(n_images)[:n_labelled].tolist()
    chosen = label_first(Z, n_images - n_labelled, labelled=known, n_neighbors=k).tolist()
    directions = [row / np.linalg.norm(row) for row in Z - Z.mean(axis=0)]
    D = np.array([[np.linalg.norm(a - b) for b in directions] for a in directions])
    spread = [np.mean(sorted(np.delete(row, i))[:k]) for i, row in enumerate(D)]
    for choice in chosen:
        ratios = {i: min((D[i, j] for j in known), default=1) / spread[i] for i in range(n_images) if i not in known}
        assert ratios[choice] >= max(ratios.values()) * (1 - 1e-6)
        known.append(choice)
    assert sorted(known) == list(range(n_images))


def test_every_cluster_is_met_before_any_is_met_twice():
    Z, y = clusters([60, 40, 30, 25, 22])
    assert sorted(y[label_first(Z, 5)]) == [0, 1, 2, 3, 4]


def test_the_oddest_images_are_not_chosen_first():
    """Ten images that are like no other: plain farthest-first traversal would take them."""
    Z, y = clusters([40, 40, 40, *[1] * 10])
    assert sorted(y[label_first(Z, 3)]) == [0, 1, 2]


def test_the_choice_of_fewer_is_the_beginning_of_that_of_more():
    Z, _ = clusters([20, 20, 20], spread=0.5)
    more = label_first(Z, 60)
    assert sorted(more) == list(range(60))
    assert all((label_first(Z, n) == more[:n]).all() for n in (1, 2, 7, 59))


def test_goes_on_from_images_that_have_labels():
    Z, y = clusters([30, 30, 30, 30])
    first = label_first(Z, 9)
    assert (label_first(Z, 5, labelled=first[:4]) == first[4:]).all()
    assert (label_first(Z, 5, labelled=first[[3, 1, 0, 2, 2]]) == first[4:]).all()
    assert sorted(y[label_first(Z, 2, labelled=np.flatnonzero(y < 2))]) == [2, 3]


@pytest.mark.parametrize(
    "change", [lambda Z: 1000 * Z, lambda Z: Z - 7, lambda Z: Z.astype(np.float32), np.ndarray.tolist]
)
def test_scale_and_place_do_not_matter(change):
    Z, _ = clusters([20, 20, 20], spread=0.5)
    assert (label_first(change(Z), 10) == label_first(Z, 10)).all()


def test_order_does_not_matter():
    Z, _ = clusters([20, 20, 20], spread=0.5)
    order = np.random.default_rng(1).permutation(60)
    assert (order[label_first(Z[order], 20)] == label_first(Z, 20)).all()


def test_copies_are_chosen_last():
    Z, _ = clusters([20, 20], spread=0.5)
    Z = np.concatenate([Z, np.tile(Z[:1], (30, 1))])
    chosen = label_first(Z, 70)
    assert sorted(chosen) == list(range(70))
    assert sum(i == 0 or i >= 40 for i in chosen[:40]) == 1


def test_images_that_are_all_equal_are_all_chosen():
    assert sorted(label_first(np.ones((5, 3)), 5)) == list(range(5))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 11}, "n must be at most 10, the number of images without a label. Got 11 instead"),
        ({"n": 8, "labelled": [0, 1, 2]}, "n must be at most 7"),
        ({"n": 0}, "'n' parameter of label_first must be an int in the range"),
        (
            {"n": 1, "labelled": [10]},
            "labelled must hold positions of images, ints from 0 to 9. Got values from 10",
        ),
        ({"n": 1, "labelled": [-1]}, "labelled must hold positions"),
        ({"n": 1, "labelled": np.arange(10) < 3}, r"pass np.flatnonzero\(mask\)"),
        ({"n": 1, "labelled": ["a"]}, "labelled must hold positions"),
        ({"n": 1, "n_neighbors": 0}, "'n_neighbors' parameter"),
    ],
)
def test_what_does_not_fit_is_an_error(arguments, message):
    with pytest.raises(ValueError, match=message):
        label_first(np.random.default_rng(0).normal(size=(10, 3)), **arguments)


@pytest.mark.parametrize("Z", [np.full((4, 2), np.nan), np.ones((1, 2)), np.ones(4)])
def test_embeddings_must_be_finite_rows(Z):
    with pytest.raises(ValueError, match=r"Z|array"):
        label_first(Z, 1)
