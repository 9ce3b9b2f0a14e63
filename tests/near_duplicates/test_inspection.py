"""A look at all images finds what is wrong with them, and says what they are."""

import io
import json
import os

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from sktl.datasets import make_fractals
from sktl.images import as_images
from sktl.near_duplicates import inspect_images, near_duplicate_groups

PICTURES, LABELS = make_fractals(12, n_classes=3, image_size=48, random_state=0)


def encoded(picture, mode=None, form="PNG"):
    file = io.BytesIO()
    image = Image.fromarray(picture)
    (image if mode is None else image.convert(mode)).save(file, form)
    return file.getvalue()


def test_nothing_is_found_where_nothing_is_wrong():
    found = inspect_images(PICTURES, LABELS)
    assert not found
    assert (found.bad_images, found.near_duplicates, found.empty_classes) == ([], [], ())
    assert found.class_counts == {0: 4, 1: 4, 2: 4}
    assert str(found).splitlines() == [
        "12 images in 3 classes",
        "Images per class: 0 4, 1 4, 2 4",
        "Kinds: colour 12",
        "Sizes: from 48 × 48 to 48 × 48 pixels, width to height from 1.00 to 1.00",
        "Nothing to mend was found",
    ]


@pytest.mark.parametrize("number", [0, 1, 5])
def test_each_kind_of_fault_alone_is_something_to_mend(number):
    assert inspect_images([*PICTURES, b""], n_jobs=2)
    assert inspect_images([*PICTURES, PICTURES[number][:, ::-1]])
    lost = [b"" if label == 1 else picture for picture, label in zip(PICTURES, LABELS, strict=True)]
    found = inspect_images(lost, LABELS)
    assert found.empty_classes == (1,)
    assert found.class_counts == {0: 4, 1: 0, 2: 4}


def test_near_duplicates_are_those_of_the_groups_with_what_they_lie_across():
    X = [*PICTURES, PICTURES[0][:, ::-1], PICTURES[1], PICTURES[1][1:, 1:]]
    y = ["a", "b", *"c" * 10, "a", "a", "b"]
    parts = ["train"] * 12 + ["test"] * 3
    found = inspect_images(X, y, parts=parts)
    groups = near_duplicate_groups(X)
    assert found.near_duplicates == [np.flatnonzero(groups == n).tolist() for n in (0, 1)]
    assert found.near_duplicates == [[0, 12], [1, 13, 14]]
    content = json.loads(json.dumps(found.to_dict()))["near_duplicates"]
    assert [group["classes"] for group in content] == [["a"], ["a", "b"]]
    assert [group["parts"] for group in content] == [["test", "train"]] * 2
    lines = str(found).splitlines()
    assert lines[-3] == "Near duplicates: 5 images in 2 groups"
    assert lines[-2] == "  image 0, image 12  (in test and train)"
    assert lines[-1] == "  image 1, image 13, image 14  (in a and b, in test and train)"
    assert "Images per part: test 3, train 12" in lines


def test_bad_images_are_named_with_their_place_and_are_no_copies_of_each_other(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(12)]
    for path, picture in zip(paths, PICTURES, strict=True):
        Image.fromarray(picture).save(path)
    for i in (3, 8):
        paths[i].write_bytes(paths[i].read_bytes()[:-99])
    paths[5].unlink()
    found = inspect_images(pd.DataFrame({"file": map(str, paths)}, index=range(70, 82)), LABELS)
    assert [(bad.index, bad.path) for bad in found.bad_images] == [(i, str(paths[i])) for i in (3, 5, 8)]
    assert found.near_duplicates == []
    assert (found.sizes[[3, 5, 8]] == 0).all()
    assert str(found).count(str(paths[3])) == 1
    assert f"  {paths[5]}: the file does not exist" in str(found)


def test_sizes_are_width_and_height_and_their_extremes():
    X = [np.zeros((20, 30), np.uint8), np.zeros((90, 10, 3), np.uint8), encoded(np.zeros((50, 80), np.uint8)), b""]
    found = inspect_images(X)
    assert found.sizes.tolist() == [[30, 20], [10, 90], [80, 50], [0, 0]]
    sizes = found.to_dict()["sizes"]
    assert (sizes["smallest"], sizes["largest"]) == ([30, 20], [80, 50])
    np.testing.assert_allclose(sizes["width_to_height"], [10 / 90, 80 / 50])
    assert inspect_images([b"", b""]).to_dict()["sizes"] is None


PICTURE = PICTURES[0]
GREY = PICTURE[:, :, 0]
KINDS = [
    (encoded(PICTURE), "colour"),
    (encoded(PICTURE, "L"), "grey"),
    (encoded(PICTURE, "1"), "black and white"),
    (encoded(PICTURE, "LA"), "grey with opacity"),
    (encoded(PICTURE, "RGBA"), "colour with opacity"),
    (encoded(PICTURE, "P"), "palette"),
    (encoded(PICTURE, "CMYK", "TIFF"), "CMYK"),
    (encoded(PICTURE, form="JPEG"), "colour"),
    (encoded(GREY.astype(np.uint16) * 257), "16-bit grey"),
    (encoded(GREY.astype(np.uint16) * 257, form="TIFF"), "16-bit grey"),
    (Image.fromarray(PICTURE).convert("L"), "grey"),
    (GREY, "grey"),
    (GREY.astype(np.uint16), "grey, uint16"),
    (GREY / 255, "grey, float64"),
    (PICTURE, "colour"),
    (np.dstack([PICTURE, GREY]), "colour with opacity"),
]


@pytest.mark.parametrize(("item", "kind"), KINDS, ids=[f"{i} {kind}" for i, (_, kind) in enumerate(KINDS)])
def test_what_the_pixels_are_is_said_in_words(item, kind):
    assert as_images([item]).open(0).kind() == kind


def test_kinds_are_counted_the_most_frequent_first():
    found = inspect_images([encoded(PICTURES[1], "L"), encoded(PICTURES[2]), PICTURES[3], b""])
    assert list(found.kinds.items()) == [("colour", 2), ("grey", 1)]


def test_rows_of_numbers_are_looked_at_too():
    rows = np.concatenate([PICTURES, PICTURES[:1]]).reshape(13, -1) / 2.0
    found = inspect_images(rows, image_shape=(48, 48, 3), value_range=(0, 127.5))
    assert found.near_duplicates == [[0, 12]]
    assert found.kinds == {"colour, float32": 13}


def test_what_does_not_fit_together_is_an_error():
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        inspect_images(PICTURES, LABELS[:5])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        inspect_images(PICTURES, parts=["train"])
    with pytest.raises(ValueError, match="at least one image"):
        inspect_images([])


@pytest.mark.skipif(os.name != "posix", reason="names of files are text elsewhere")
def test_names_of_any_letters_are_printed_in_one_line(tmp_path):
    path = os.fsencode(tmp_path) + b"/a\n\xff.png"
    with open(path, "wb") as file:
        file.write(b"")
    found = inspect_images([os.fsdecode(path), encoded(PICTURE)])
    (line,) = [line for line in str(found).splitlines() if "must have content" in line]
    assert line.isprintable()
    assert json.loads(json.dumps(found.to_dict()))["bad_images"][0]["path"] == os.fsdecode(path)
