"""The page about a ranking: everything is on it, escaped, and it loads nothing."""

import re

import pytest

from sktl.transferability import bias_corrected_score


@pytest.fixture
def ranking(make_ranking):
    return make_ranking(
        {"<large>": (0.98, 0.2), "small & quick": (0.97, 0.02), "weak": (0.6, 0.001)},
        tuned={"<large>, fine-tuned": 0.99},
        finalists={"<large>": "best by score"},
        corrected=bias_corrected_score([[1, 0, 1, 1], [1, 1, 0, 1]]),
    )


def test_the_answer_stands_on_top_and_all_tables_below(ranking, tmp_path):
    page = ranking.report(tmp_path / "ranking.html").read_text(encoding="utf-8")
    assert "<strong>small &amp; quick</strong>" in page
    assert "Which network?" in page
    for heading in ("The networks", "Without a network", "Fine-tuned", "More about the networks", "Run it again"):
        assert re.search(f"<h2>{heading}", page), heading
    assert "With the same images as X and the same labels as y:" in page
    assert "&lt;large&gt;, fine-tuned" in page
    assert "<large>" not in page


def test_controls_that_are_level_stand_in_the_place_of_the_answer(make_ranking, tmp_path):
    controls = {"dummy": 0.5, "pixels": 0.95}
    page = make_ranking({"a": (0.95, 0.1)}, controls=controls).report(tmp_path / "p.html").read_text(encoding="utf-8")
    assert "<strong>Look at the controls first</strong>" in page
    assert 'class="verdict open"' in page


def test_the_page_loads_nothing_and_has_no_empty_section(make_ranking, tmp_path):
    page = make_ranking({"a": (0.9, 0.1)}).report(tmp_path / "p.html").read_text(encoding="utf-8")
    assert not re.search(r"<script|https?://|<link", page)
    assert "Fine-tuned</h2>" not in page


def test_a_folder_is_no_place_for_a_page(ranking, tmp_path):
    with pytest.raises(IsADirectoryError, match="path must be a file to write"):
        ranking.report(tmp_path)
