import os
import re
import shutil
import subprocess
from base64 import b64decode
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from io import BytesIO
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from sktl import PretrainedFeatureExtractor, compare_transfer
from sktl._text import seconds
from sktl.comparison import Run
from sktl.datasets import make_fractals
from sktl.reports import _pictures

NETWORK = {"name": "tiny_fractal", "weights": "embedded"}
WRONG = {"fine_tuned": {0: (1, 0.95), 3: (2, 0.8), 7: (0, 0.99)}}
EVIL = "<script>alert('x')</script> & \"q\" $a$"
VOID = {"meta", "img", "br", "link", "hr", "input"}
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "chrome")


class Page(HTMLParser):
    """The page as a list of elements, with everything that is not nested as it should be."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.texts, self.faults = [], [], {}, []
        self.feed(text)
        self.close()
        self.faults += self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}>")

    def handle_data(self, data):
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)

    def attributes(self, tag):
        return [attributes for one, attributes in self.elements if one == tag]

    def text(self, *tags):
        return " ".join(text for tag in tags or self.texts for text in self.texts.get(tag, []))


def report(comparison, folder, **options):
    text = comparison.report(folder / "report.html", **options).read_text(encoding="utf-8")
    return Page(text), text


@pytest.fixture(scope="module")
def comparison(make_comparison):
    estimators = {"dummy": "DummyClassifier()", "frozen": "Pipeline(steps=[])"}
    return make_comparison(wrong=WRONG, estimators=estimators, versions={"sktl": "1.2", "torch": "9.9"})


@pytest.fixture(scope="module")
def small(make_comparison):
    """One with few pictures, for what is not about them."""
    return make_comparison(("dummy", "frozen"))


@pytest.fixture(scope="module")
def written(comparison, pictures, tmp_path_factory):
    """The page, parsed and as text."""
    return report(comparison, tmp_path_factory.mktemp("page"), X=pictures)


def test_the_page_is_well_formed_and_loads_nothing(written):
    page, text = written
    assert page.faults == []
    assert text.startswith("<!DOCTYPE html>")
    loaded = [
        value
        for _, attributes in page.elements
        for name, value in attributes.items()
        if name in {"src", "href", "srcset", "data", "poster", "action"} and not value.startswith("data:image/")
    ]
    assert loaded == []
    assert not {"script", "link", "iframe", "object", "embed"} & {tag for tag, _ in page.elements}
    assert not re.search(r"url\(|@import|https?:", text)
    policies = [one["content"] for one in page.attributes("meta") if "http-equiv" in one]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_the_page_has_a_language_a_title_a_viewport_and_headings_in_order(written):
    page, _ = written
    assert page.attributes("html") == [{"lang": "en"}]
    assert "was transfer worth it?" in page.text("title")
    assert any(one.get("name") == "viewport" for one in page.attributes("meta"))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(one.get("scope") in ("col", "row") for one in page.attributes("th"))


def test_every_image_can_be_decoded_and_is_described(written):
    page, _ = written
    images = page.attributes("img")
    assert len(images) >= 2 + 1 + 3 + 2
    for image in images:
        kind, _, data = image["src"].partition(";base64,")
        assert kind in ("data:image/png", "data:image/jpeg")
        Image.open(BytesIO(b64decode(data))).load()
        assert len(image["alt"]) > 10
    assert any("fine_tuned +" in image["alt"] for image in images)


def test_the_verdict_comes_first_and_warnings_next(comparison, written):
    _, text = written
    assert text.index(comparison.verdict.capitalize()) < text.index("Before you rely on it") < text.index("<table")
    for note in comparison.notes():
        assert escape(note) in text
    assert '<div class="verdict good">' in text


def test_numbers_are_those_of_the_comparison(comparison, written):
    page, _ = written
    cells = page.text("td")
    for row in comparison.rows():
        assert f"{row.mean:.3f}" in cells
        assert seconds(row.fit_seconds) in cells
    assert "700,000" in cells
    assert "0123456789abcdef" * 4 in cells
    assert "BSD-3-Clause" in cells
    assert "11, 12, 13" in page.text("dd")
    assert "torch 9.9" in page.text("dd")


def test_the_top_says_what_was_compared_and_colours_the_verdict(make_comparison, written, tmp_path):
    page, text = written
    assert "30 images in 3 classes · 3 folds" in page.text("p")
    own = "Pipeline(steps=[('a', 1)])"
    recipes = {"dummy": "dummy", "frozen": None, "from_scratch": "from_scratch"}
    settings = {"recipes": recipes, "estimators": {"frozen": own, "dummy": "DummyClassifier()"}, "data": "set/photos"}
    comparison = make_comparison(("dummy", "frozen", "from_scratch"), networks={"frozen": NETWORK}, **settings)
    page, text = report(comparison, tmp_path)
    terms = dict(zip(page.texts["dt"][:3], page.texts["dd"][:3], strict=True))
    assert terms["dummy"] == "learns nothing from the images: chance level"
    assert terms["frozen"] == f"your own: {own}"
    assert terms["from_scratch (baseline)"] == "the same network from random weights, all of it trained"
    assert "set/photos · 30 images in 3 classes · tiny_fractal · 3 folds" in page.text("p")
    assert text.index("What was compared") < text.index("The result")


@pytest.mark.parametrize(("scratch", "kind"), [([0.3, 0.3, 0.4], "open"), ([0.6, 0.62, 0.55], "good")])
def test_the_verdict_has_the_colour_of_what_is_known(make_comparison, tmp_path, scratch, kind):
    comparison = make_comparison(("dummy", "fine_tuned", "from_scratch"))
    runs = [
        replace(run, scores={"accuracy": scratch[run.split]}) if run.candidate == "from_scratch" else run
        for run in comparison.runs
    ]
    _, text = report(replace(comparison, runs=tuple(runs)), tmp_path)
    assert f'<div class="verdict {kind}"><strong>Transfer helps' in text
    assert ("Nothing shows that the baseline learned anything" in text) is (kind == "open")


def test_losses_are_drawn_on_one_scale(comparison, monkeypatch):
    sheets = []
    monkeypatch.setattr(_pictures, "drawn", lambda sheet: sheets.append(sheet) or "")
    _pictures.curves(comparison)
    (one,), (other,) = (sheet.axes for sheet in sheets)
    assert one.get_ylim() == other.get_ylim()
    assert one.get_xlim() == other.get_xlim()


def test_names_from_outside_are_text_and_no_markup(make_comparison, pictures, tmp_path):
    folder = tmp_path / "it's <b>&amp;"
    folder.mkdir()
    files = [str(folder / f'{i} "<img src=x onerror=alert(1)>.png') for i in range(30)]
    for file, picture in zip(files, pictures, strict=True):
        Image.fromarray(picture).save(file.replace("/>", ">"))
    names = ("dummy", EVIL, "from_scratch")
    settings = {"estimators": {EVIL: f"Own({EVIL!r})"}, "backbone": EVIL, "near_duplicates": EVIL}
    comparison = make_comparison(names, wrong={"from_scratch": WRONG["fine_tuned"]}, **settings)
    comparison = replace(comparison, transfer={name: name == EVIL for name in names})
    page, text = report(comparison, tmp_path, X=files, target_names=[EVIL, "a&b", "'c'"])
    assert page.faults == []
    assert "<script" not in text
    assert "onerror" not in {name for _, attributes in page.elements for name in attributes}
    assert len(page.attributes("img")) == text.count("<img")
    assert EVIL in page.text("span")
    assert "Taken for a&b, 95 % sure" in page.text("figcaption")
    assert f"is {EVIL}" in page.text("span")
    assert any(EVIL in image["alt"] for image in page.attributes("img"))
    assert "<img src=x onerror=alert(1)>.png" in page.text("span")


def test_failed_fits_are_named(small, tmp_path):
    failed = Run("broken", 0, {}, error="ValueError: <no> way")
    page, _ = report(replace(small, runs=small.runs + (failed,)), tmp_path)
    assert "ValueError: <no> way" in page.text("li")


def test_the_report_is_never_written_onto_an_image(small, pictures, tmp_path):
    paths = [tmp_path / f"{number:02}.png" for number in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(picture).save(path)
    (tmp_path / "link.html").symlink_to(paths[3])
    os.link(paths[4], tmp_path / "hard.html")
    before = [path.read_bytes() for path in paths]
    for place in (paths[5], tmp_path / "link.html", str(tmp_path / "hard.html")):
        for X in (paths, [str(path) for path in paths], np.array(paths, dtype=object)[:, None]):
            with pytest.raises(ValueError, match="path must be a file of its own"):
                small.report(place, X=X)
    assert [path.read_bytes() for path in paths] == before


def test_mistakes_need_the_images(small, pictures, written, tmp_path):
    without, _ = report(small, tmp_path)
    page, _ = written
    assert "confident mistakes" not in without.text("h2")
    assert "confident mistakes" in page.text("h2")
    assert "X[7]" in page.text("span")
    with pytest.raises(ValueError, match="the images that were compared on"):
        small.report(tmp_path / "other.html", X=pictures[:5])
    assert not (tmp_path / "other.html").exists()


def test_maps_of_where_a_classifier_looked_are_in_the_thumbnails(comparison, pictures, written, tmp_path):
    model = make_pipeline(PretrainedFeatureExtractor(), LogisticRegression(C=0.01)).fit(pictures, np.arange(30) % 3)
    comparison.report(tmp_path / "maps.html", X=pictures, maps_of=model)
    plain, coloured = (
        [attributes["src"] for tag, attributes in page.elements if tag == "img"]
        for page in (written[0], Page((tmp_path / "maps.html").read_text()))
    )
    assert len(plain) == len(coloured)
    assert sum(one != other for one, other in zip(plain, coloured, strict=True)) == len(WRONG["fine_tuned"])
    assert "Orange: where the classifier" in (tmp_path / "maps.html").read_text()


def test_a_single_split_has_no_interval_and_a_page_all_the_same(small, tmp_path):
    runs = tuple(run for run in small.runs if run.split == 0)
    one = replace(small, runs=runs, splits=small.splits[:1], seeds=small.seeds[:1])
    page, _ = report(one, tmp_path)
    assert page.faults == []
    assert "One split says nothing" in page.text("li")
    assert "nan" not in page.text("td", "p").lower().split()


def test_many_classes_become_a_list(make_comparison, tmp_path):
    y = np.arange(30) % 20
    wrong = {"frozen": {0: (4, 0.9), 20: (4, 0.8), 1: (5, 0.7)}}
    page, _ = report(make_comparison(("frozen", "from_scratch"), y=y, wrong=wrong), tmp_path)
    assert "Most frequent confusions" in [one.get("aria-label") for one in page.attributes("div")]


@pytest.mark.slow
def test_regression_has_no_classes(make_comparison, pictures, tmp_path):
    comparison = make_comparison(y=np.linspace(0, 1, 30), task="regression")
    page, _ = report(comparison, tmp_path, X=pictures)
    assert page.faults == []
    assert "classes" not in page.text("h2").lower()


def test_predictions_that_were_not_kept_are_left_out(comparison, pictures, tmp_path):
    runs = tuple(replace(run, predicted=None, confidence=None, history=None) for run in comparison.runs)
    page, _ = report(replace(comparison, runs=runs), tmp_path, X=pictures)
    assert page.faults == []
    assert not re.search("mistakes|taken|training", page.text("h2"))


def test_many_large_images_make_no_large_page(make_comparison, tmp_path):
    wrong = {"frozen": {i: ((i + 1) % 3, 0.9) for i in range(30)}}
    noise = np.random.default_rng(0).integers(0, 256, (30, 400, 500, 3), dtype=np.uint8)
    page, text = report(make_comparison(("dummy", "frozen"), wrong=wrong), tmp_path, X=noise)
    shown = [image for image in page.attributes("img") if image["src"].startswith("data:image/jpeg")]
    assert len(shown) == 12
    assert max(max(Image.open(BytesIO(b64decode(one["src"].partition(",")[2]))).size) for one in shown) == 160
    assert len(text) < 1_000_000


@pytest.mark.slow
def test_the_code_on_the_page_runs(tmp_path, capsys, monkeypatch):
    X, y = make_fractals(24, n_classes=2, random_state=0)
    comparison = compare_transfer(X, y, candidates=("dummy", "frozen"), baseline="dummy", cv=2)
    page, _ = report(comparison, tmp_path, X=X, target_names=["it's", 'a "b"'])
    assert """target_names=["it's", 'a "b"']""" in page.text("code")
    monkeypatch.chdir(tmp_path)
    os.remove("report.html")
    names = {"X": X, "y": y}
    exec(page.text("code"), names)
    np.testing.assert_array_equal(names["comparison"].scores["frozen"], comparison.scores["frozen"])
    assert (tmp_path / "report.html").exists()


def test_places_that_cannot_be_written_to_are_refused(comparison, tmp_path):
    with pytest.raises(IsADirectoryError, match=r"path must be a file to write\. Got the folder"):
        comparison.report(tmp_path)
    with pytest.raises(FileNotFoundError, match="The folder of the report must exist"):
        comparison.report(tmp_path / "nowhere" / "report.html")


def test_a_page_is_replaced_in_one_step(small, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("the old page")

    def fail(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(OSError, match="full"):
        small.report(path)
    assert path.read_text() == "the old page"
    assert os.listdir(tmp_path) == ["report.html"]
    monkeypatch.undo()
    assert small.report(str(path)) == path
    assert "the old page" not in path.read_text(encoding="utf-8")
    assert os.listdir(tmp_path) == ["report.html"]


def test_names_with_bytes_that_are_no_text_are_spelt_out_on_the_page(make_comparison, tmp_path):
    names = ["a\udcff", "b\n\x00", "蜂"]
    page, _ = report(make_comparison(("frozen", "from_scratch")), tmp_path, target_names=names)
    assert r"a\udcff" in page.text("span")
    assert "蜂" in page.text("span")


@pytest.mark.parametrize("width", [390, pytest.param(1280, marks=pytest.mark.slow)])
def test_in_a_browser_nothing_is_wider_than_the_screen(comparison, pictures, tmp_path, width):
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no Chromium is installed")
    _, text = report(comparison, tmp_path, X=pictures, target_names=["a" * 60, "bee", "cat"])
    frame = f'<iframe id="page" width="{width}" height="800" srcdoc="{escape(text)}"></iframe>'
    measure = (
        "const root = page.contentDocument.documentElement;"
        "const broken = [...root.querySelectorAll('img')].filter(one => !one.naturalWidth).length;"
        "document.title = [root.scrollWidth, root.clientWidth, broken].join(' ');"
    )
    outer = tmp_path / "outer.html"
    script = f"<script>onload = () => {{ {measure} }}</script>"
    outer.write_text(f"<!DOCTYPE html><meta charset='utf-8'>{script}{frame}", encoding="utf-8")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    done = subprocess.run(
        [*command, "--dump-dom", outer.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    needed, given, broken = re.search(r"<title>(\d+) (\d+) (\d+)</title>", done.stdout).groups()
    assert int(needed) <= int(given)
    assert given == str(width) or int(given) >= width - 20
    assert broken == "0"
