"""Near duplicates: found whatever was done to them, and nothing else is called one."""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from sktl.datasets import make_fractals
from sktl.exceptions import ImageReadError
from sktl.feature_extraction import PretrainedFeatureExtractor
from sktl.near_duplicates._groups import near_duplicate_groups
from sktl.near_duplicates._leakage import find_leaks
from sktl.near_duplicates._similarity import rough_similarity, similarity, thumbnail
from sktl.near_duplicates.search import _neighbours, _numbered, _threshold


@pytest.fixture(scope="module")
def pictures():
    images, target = make_fractals(30, n_classes=5, image_size=96, random_state=0)
    return [Image.fromarray(image) for image in images], target


def saved_again(image):
    file = io.BytesIO()
    image.save(file, "JPEG", quality=40)
    return Image.open(file)


def cropped(image, share=0.05):
    width, height = image.size
    return image.crop((round(share * width), round(share * height), round((1 - share) * width), height))


CHANGES = {
    "recompressed": saved_again,
    "smaller": lambda image: image.resize((round(0.7 * image.width), round(0.7 * image.height))),
    "squeezed": lambda image: image.resize((image.width, image.height // 2)),
    "cropped": cropped,
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.85),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "all of it": lambda image: saved_again(cropped(ImageEnhance.Brightness(image).enhance(1.1), 0.03).resize((80, 80))),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_changed_copy_shares_the_number_of_its_original(pictures, change):
    images, _ = pictures
    groups = near_duplicate_groups([*images, *map(change, images[:6])])
    np.testing.assert_array_equal(groups, [*range(30), *range(6)])


def test_copies_of_copies_are_one_group_and_the_order_does_not_matter(pictures):
    images, _ = pictures
    chain = [images[3], cropped(images[3]), cropped(cropped(images[3])), saved_again(images[3])]
    several = [*images[:10], *chain]
    groups = near_duplicate_groups(several)
    assert groups[[3, 10, 11, 12, 13]].tolist() == [3] * 5
    assert groups.max() == 9
    backwards = near_duplicate_groups(several[::-1])[::-1]
    np.testing.assert_array_equal(groups[:, None] == groups, backwards[:, None] == backwards)


def test_digits_are_alike_and_no_copies():
    """The first three hundred handwritten digits hold no two equal ones; embeddings alone would join hundreds."""
    X, _ = load_digits(return_X_y=True)
    assert len(np.unique(X[:300], axis=0)) == 300
    groups = near_duplicate_groups(np.concatenate([X[:300], X[5:6]]), value_range=(0, 16))
    np.testing.assert_array_equal(groups, [*range(300), 5])


def test_many_equal_images_are_one_group(pictures):
    images, _ = pictures
    black = [Image.new("L", (20, 20))] * 40
    assert near_duplicate_groups([*black, *images[:3]]).tolist() == [0] * 40 + [1, 2, 3]


def test_flat_pictures_are_copies_only_of_their_own_shade():
    flat = [Image.new("L", (20, 20), value) for value in (0, 80, 81, 200)]
    groups = near_duplicate_groups(flat)
    assert groups[0] != groups[1] != groups[3]
    assert groups[1] == groups[2]


@pytest.mark.parametrize("n_images", [1, 2])
def test_so_few_images(pictures, n_images):
    assert near_duplicate_groups(pictures[0][:n_images]).tolist() == list(range(n_images))


def test_two_images_that_are_copies(pictures):
    image = pictures[0][0]
    assert near_duplicate_groups([image, cropped(image)]).tolist() == [0, 0]


def test_own_groups_stay_together_and_are_joined_by_copies(pictures):
    images, _ = pictures
    groups = near_duplicate_groups([*images[:5], saved_again(images[4])], groups=["a", "b", "a", "c", "d", "b"])
    assert groups.tolist() == [0, 1, 0, 2, 1, 1]
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        near_duplicate_groups(images[:5], groups=[0, 1])


def test_rows_arrays_and_files_give_the_same(pictures, tmp_path):
    images, _ = pictures
    several = [image.convert("L").resize((32, 32)) for image in [*images[:8], images[2]]]
    arrays = np.stack([np.asarray(image) for image in several])
    paths = []
    for i, image in enumerate(several):
        image.save(tmp_path / f"{i}.png")
        paths.append(str(tmp_path / f"{i}.png"))
    expected = [*range(8), 2]
    assert near_duplicate_groups(several).tolist() == expected
    assert near_duplicate_groups(paths).tolist() == expected
    rows = arrays.reshape(9, -1).astype(float)
    assert near_duplicate_groups(rows, image_shape=(32, 32)).tolist() == expected
    assert near_duplicate_groups(rows, value_range=(0, 255)).tolist() == expected


def test_the_threshold_decides(pictures):
    images, _ = pictures
    several = [*images[:10], saved_again(images[0])]
    assert near_duplicate_groups(several, threshold=1.0).tolist() == list(range(11))
    assert near_duplicate_groups(several, threshold=0.9)[-1] == 0
    for wrong in (0, 1.5, "high"):
        with pytest.raises(ValueError, match="threshold"):
            near_duplicate_groups(several, threshold=wrong)


def test_an_image_goes_through_the_network_once_for_the_groups_and_the_frozen_candidate(pictures, tmp_path):
    images, _ = pictures
    near_duplicate_groups(images, cache=tmp_path)
    extractor = PretrainedFeatureExtractor(layer="all", pooling="avg+std", cache=tmp_path).fit(images)
    extractor.transform(images)
    assert (extractor.store_info_.n_hits, extractor.store_info_.n_misses) == (30, 0)


def test_an_image_that_cannot_be_read_is_named(pictures, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    with pytest.raises(ImageReadError, match=r"image 2 .*broken\.png"):
        near_duplicate_groups([*pictures[0][:2], str(tmp_path / "broken.png")])


def test_verbose_says_how_many(pictures, capsys):
    near_duplicate_groups([*pictures[0][:5], pictures[0][0]], verbose=1)
    assert "near copies: 1 of 6 images" in capsys.readouterr().out


def test_splitters_keep_the_copies_together(pictures):
    images, target = pictures
    several, y = [*images, *map(saved_again, images)], np.concatenate([target, target])
    groups = near_duplicate_groups(several)
    apart = list(StratifiedKFold(3, shuffle=True, random_state=0).split(y, y))
    found = find_leaks(groups, apart)
    # counted the long way round
    expected = [sum(groups[i] in set(groups[train]) for i in test) for train, test in apart]
    assert found
    assert found.counts.tolist() == expected
    assert len(found.pairs) == 10
    for split, train_index, test_index in found.pairs:
        train, test = apart[split]
        assert train_index in train
        assert test_index in test
        assert groups[train_index] == groups[test_index]
    together = StratifiedGroupKFold(3, shuffle=True, random_state=0).split(y, y, groups)
    assert not find_leaks(groups, together)


def test_neighbours_are_those_of_the_whole_matrix(monkeypatch):
    vectors = np.random.default_rng(0).standard_normal((50, 5)).astype(np.float32)
    monkeypatch.setattr("sktl.near_duplicates.search.MEMORY", 12 * 50 * 7)  # seven rows at a time
    standard = (vectors - vectors.mean(axis=0)) / vectors.std(axis=0)
    similar = np.corrcoef(np.c_[standard, -standard])  # the cosine, since the mean of each row is then 0
    np.fill_diagonal(similar, -2)
    expected = {tuple(sorted((i, int(j)))) for i in range(50) for j in np.argsort(similar[i])[-8:]}
    assert set(map(tuple, _neighbours(vectors).tolist())) == expected


def test_numbers_follow_the_first_appearance():
    assert _numbered(np.array([[4, 1], [3, 0]]), 5).tolist() == [0, 1, 2, 0, 1]


def test_pairs_that_may_be_copies_have_no_say_in_what_is_usual():
    few, many = np.float32([0, 0.05, 0.1, 0.99]), np.float32([0, 0.05, 0.1, *[0.99] * 50])
    assert _threshold(few) == _threshold(many) == 0.93
    assert _threshold(np.float32([0.99])) == 0.93
    assert 0.97 < _threshold(np.float32([0.7, 0.75, 0.8])) < 1


@pytest.fixture(scope="module")
def thumbnails(pictures):
    return np.stack([thumbnail(np.asarray(image)) for image in pictures[0]])


def test_similarity_undoes_a_crop_in_either_direction(pictures, thumbnails):
    small = np.stack([thumbnail(np.asarray(cropped(image))) for image in pictures[0]])
    for one, other in ((thumbnails, small), (small, thumbnails)):
        assert (similarity(one, other) > 0.95).all()
        assert (rough_similarity(one, other) < similarity(one, other)).all()


def test_similarity_of_different_pictures_is_low(thumbnails):
    assert similarity(thumbnails[:-1], thumbnails[1:]).max() < 0.8
    np.testing.assert_allclose(similarity(thumbnails, thumbnails), 1, atol=1e-5)


def test_rough_similarity_is_the_correlation_of_the_middles_without_coarse_and_fine():
    from scipy.ndimage import convolve1d

    def blurred(picture, times):
        for _ in range(times):
            for axis in (0, 1):
                picture = convolve1d(picture, [0.25, 0.5, 0.25], axis=axis, mode="nearest")
        return picture

    one, other = np.random.default_rng(0).integers(0, 256, (2, 48, 48)).astype(np.uint8)
    bands = [(blurred(part.astype(float), 4) - blurred(part.astype(float), 16))[3:-3, 3:-3] for part in (one, other)]
    expected = np.corrcoef(bands[0].ravel(), bands[1].ravel())[0, 1]
    np.testing.assert_allclose(rough_similarity(one[None], other[None])[0], expected, atol=1e-4)


def test_thumbnails_of_bytes_and_of_numbers_agree(pictures):
    picture = np.asarray(pictures[0][0])
    bytes_, numbers = thumbnail(picture), thumbnail((picture / 255).astype(np.float32))
    assert bytes_.shape == (48, 48)
    assert bytes_.dtype == np.uint8
    np.testing.assert_array_equal(bytes_, numbers)


def test_the_true_copies_in_a_set_of_real_photos_are_found_and_nothing_else(shared_data):
    """Two butterflies and two dalmatians of Caltech-101, seen to be the same pictures."""
    folder = shared_data / "datasets" / "caltech15"
    names = [line.split(",")[0] for line in (folder / "index.csv").read_text().splitlines()[1:]]
    groups = near_duplicate_groups([folder / name for name in names])
    twins = [{names[i] for i in np.flatnonzero(groups == group)} for group in np.flatnonzero(np.bincount(groups) > 1)]
    assert twins == [
        {"images/butterfly/image_0001.jpg", "images/butterfly/image_0031.jpg"},
        {"images/dalmatian/image_0050.jpg", "images/dalmatian/image_0061.jpg"},
    ]
