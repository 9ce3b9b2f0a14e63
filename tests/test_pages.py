"""The HTML box of a public estimator links to its page, and no other box does."""

import re
from importlib import import_module
from inspect import Parameter, signature
from pathlib import Path

import pytest
from sklearn.base import BaseEstimator

from sktl._pages import SITE
from sktl.comparison._domains import AcrossDomains

API = (Path(__file__).parents[1] / "docs/api.md").read_text(encoding="utf-8")
PAGES = re.findall(r"^    (\w+)$", API, re.MULTILINE)  # a row of a table there has a page of its own
ROOMS = re.findall(r"^## `(sktl[.\w]*)`$", API, re.MULTILINE)
ESTIMATORS = {
    name: getattr(room, name)
    for room in map(import_module, ROOMS)
    for name in room.__all__
    if isinstance(getattr(room, name), type) and issubclass(getattr(room, name), BaseEstimator)
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_the_box_of_a_public_estimator_links_to_its_page(name):
    estimator = ESTIMATORS[name]
    required = [p for p in signature(estimator).parameters.values() if p.default is Parameter.empty]
    box = estimator(*range(len(required)))._repr_html_()  # a constructor only stores
    assert name in PAGES
    assert f'href="{SITE}api/{name}.html"' in box


def test_there_are_estimators_to_look_at():
    assert {"FineTuneClassifier", "L2SP", "PatchAnomalyDetector", "PixelFeatures"} <= set(ESTIMATORS)


def test_the_box_of_an_estimator_without_a_page_links_nowhere():
    assert AcrossDomains._doc_link_module == "sklearn"  # which is not where it comes from


def test_the_box_of_a_users_own_estimator_links_nowhere():
    from sktl import LinearProbeClassifier

    class MyProbe(LinearProbeClassifier):
        """Comes from another package, whose pages are not known here."""

    MyProbe.__module__ = "mine"
    assert MyProbe()._get_doc_link() == ""


def test_pages_have_names_that_differ_where_case_does_not_count():
    assert len({name.lower() for name in PAGES}) == len(PAGES) > 80
