"""What follows from the scores and costs of networks: the leading group, the one to take, and what a reader is told."""

import json
import pickle
from dataclasses import fields, replace

import pytest

from sktl.comparison import FitRecord, GroupGap
from sktl.displays import BackboneRankingDisplay
from sktl.transferability import RankedNetwork, bias_corrected_score


@pytest.fixture
def three(make_ranking):
    return make_ranking({"large": (0.98, 0.2), "small": (0.97, 0.02), "weak": (0.6, 0.001)})


def test_the_best_leads_and_the_cheapest_within_the_rope_is_recommended(three):
    assert three.leader == "large"
    assert three.networks == ["large", "small", "weak"]
    assert three.leading_group == ["large", "small"]
    assert three.recommended == "small"


def test_of_networks_about_as_cheap_the_one_that_scores_best_is_recommended(make_ranking):
    near = make_ranking({"large": (0.98, 0.2), "small": (0.97, 0.0235), "smaller": (0.96, 0.02)})
    assert (near.leading_group, near.recommended) == (["large", "small", "smaller"], "small")
    assert near.cheapest == "small"
    apart = make_ranking({"large": (0.98, 0.2), "small": (0.97, 0.0245), "smaller": (0.96, 0.02)})
    assert (apart.recommended, apart.cheapest) == ("small", "smaller")


def test_a_cheap_network_that_is_not_shown_to_be_worse_is_named_and_not_recommended(make_ranking):
    ranking = make_ranking({"large": (0.98, 0.2), "small": (0.95, 0.02)})
    assert (ranking.leading_group, ranking.recommended) == (["large", "small"], "large")
    assert ranking.cheapest == "small"
    text = " ".join(repr(ranking).split())
    assert text.startswith(
        "Take 'large': it scores best, 0.980 in accuracy, with 200 ms per image. These images cannot tell 2 networks "
        "apart: where time counts more, the cheapest of them, 'small' with 20 ms, scores 0.030 less than "
        "the best."
    )


def test_rows_are_about_the_differences_to_the_leader(three):
    first, second, last = three.rows()
    assert (first.difference, first.low, first.high) == (None, None, None)
    assert second.difference == pytest.approx(-0.01)
    assert second.low < 0 < second.high
    assert last.high < 0
    assert (second.seconds_per_image, second.nearest_neighbour, second.log_me, second.top1) == (0.02, 0.7, -0.6, 75.1)
    assert (second.license, second.image_size, second.n_parameters) == ("BSD-3-Clause", 48, 600_000)
    assert second.digest.startswith("0123456789abcdef")


def test_a_single_network_leads_alone(make_ranking):
    ranking = make_ranking({"only": (0.9, 0.02)})
    assert (ranking.leader, ranking.leading_group, ranking.recommended) == ("only", ["only"], "only")
    assert "the only network" in repr(ranking)


def test_networks_of_equal_scores_are_one_group_whatever_their_order(make_ranking):
    ranking = make_ranking({"one": (0.9, 0.02)})
    runs = ranking.comparison.runs
    twins = [replace(run, candidate=name) for name in ("other", "third") for run in runs if run.candidate == "one"]
    comparison = replace(
        ranking.comparison,
        runs=(*runs, *twins),
        transfer={**ranking.comparison.transfer, "other": True, "third": True},
    )
    measures = dict.fromkeys(["third", "one", "other"], ranking.measures["one"])
    equal = replace(ranking, comparison=comparison, measures=measures)
    assert equal.leading_group == ["one", "third", "other"]
    assert equal.recommended == "one"


@pytest.mark.parametrize(
    ("pixels", "random", "level"),
    [
        (0.6, 0.65, []),
        (0.97, 0.65, ["pixels"]),
        (0.6, 1.0, ["frozen_random"]),
        (0.98, 0.98, ["pixels", "frozen_random"]),
    ],
)
def test_controls_that_the_best_network_does_not_beat_come_first(make_ranking, pixels, random, level):
    controls = {"dummy": 0.5, "pixels": pixels, "frozen_random": random}
    ranking = make_ranking({"good": (0.96, 0.02), "weak": (0.6, 0.01)}, controls=controls)
    assert ranking.level_controls == level
    text = repr(ranking)
    assert text.startswith("Without") == bool(level)
    for name in level:
        assert f"{name!r} is level with the best network, 'good': {controls[name]:.3f} beside 0.960" in text


def test_a_control_that_is_clearly_better_is_said_to_beat_the_network(make_ranking):
    ranking = make_ranking({"poor": (0.6, 0.02)}, controls={"dummy": 0.5, "frozen_random": 0.98})
    assert repr(ranking).startswith("Without pretraining, 'frozen_random' beats the best network, 'poor': 0.980")


def test_a_control_far_below_is_not_called_level_where_few_folds_leave_it_open(make_ranking):
    ranking = make_ranking({"good": (0.96, 0.02)})
    comparison = ranking.comparison
    runs = tuple(run for run in comparison.runs if run.split == 0)
    one_split = replace(comparison, runs=runs, splits=comparison.splits[:1], seeds=(1,))
    text = repr(replace(ranking, comparison=one_split))
    assert "'pixels' may be level with the best network" in text
    assert "One split says nothing about the spread" in text


@pytest.mark.parametrize(
    ("networks", "said"),
    [
        ({"a": (0.99, 0.02), "b": (0.6, 0.01)}, "it scores 0.990 in accuracy, clearly more than the other networks"),
        ({"a": (0.99, 0.01), "b": (0.98, 0.02)}, "it scores 0.990 in accuracy, with 10 ms per image, and none of the"),
    ],
)
def test_the_answer_says_which_to_take_and_why(make_ranking, networks, said):
    assert repr(make_ranking(networks)).startswith(f"Take 'a': {said}")


def test_the_answer_says_what_the_best_one_would_cost(make_ranking):
    text = " ".join(repr(make_ranking({"a": (0.99, 0.2), "b": (0.98, 0.0123)})).split())
    assert text.startswith(
        "Take 'b': it scores 0.980 in accuracy, with 12 ms per image. That is within 0.01 of the best, 'a' with 0.990 "
        "and 200 ms."
    )


def test_the_score_of_the_chosen_one_is_corrected_in_a_note(make_ranking):
    corrected = bias_corrected_score([[1, 0, 1, 1], [1, 1, 0, 1]])
    text = repr(make_ranking({"a": (0.99, 0.02), "b": (0.98, 0.01)}, corrected=corrected))
    assert f"the best of these networks scores {corrected.score:.3f}" in " ".join(text.split())


@pytest.mark.parametrize(
    ("bundled", "said"),
    [
        (
            ["cheap"],
            "'cheap' has never seen a photograph: on photographs a network that knows them, such as 'dear', is",
        ),
        (["cheap", "dear"], "Write another backbone."),
        (["dear"], None),
    ],
)
def test_a_cheapest_network_that_has_never_seen_a_photograph_is_noted(make_ranking, bundled, said):
    ranking = make_ranking({"dear": (0.99, 0.2), "cheap": (0.98, 0.01)})
    assert (ranking.leader, ranking.recommended) == ("dear", "cheap")
    comparison = ranking.comparison
    fractals = {"name": "tiny_fractal", "weights": "embedded"}
    runs = [
        replace(run, network={**run.network, **fractals}) if run.candidate in bundled else run
        for run in comparison.runs
    ]
    settings = {**comparison.settings, "photographs": "Write another backbone."}
    comparison = replace(comparison, runs=tuple(runs), settings=settings)
    notes = replace(ranking, comparison=comparison).to_dict()["notes"]
    found = [note for note in notes if "photograph" in note or "another backbone" in note]
    assert len(found) == (said is not None)
    assert all(note.startswith(said) for note in found)


def test_groups_that_files_suggest_and_what_they_are_worth_are_noted(three):
    comparison = replace(
        three.comparison,
        settings={**three.comparison.settings, "suggested_groups": "Names suggest groups."},
        group_gap=GroupGap("large", "name", 0.98, 0.78, 0.2, 0.1, 0.3),
    )
    notes = replace(three, comparison=comparison).to_dict()["notes"]
    assert "Names suggest groups." in notes
    assert any(note.startswith("Folds that ignore groups by name give 'large' 0.980") for note in notes)


def test_finalists_have_a_table_and_a_note_of_their_own(make_ranking):
    ranking = make_ranking(
        {"a": (0.9, 0.02), "b": (0.88, 0.01)},
        tuned={"a, fine-tuned": 0.92, "b, fine-tuned": 0.97},
        finalists={"a": "best by score", "b": "best of the others by published accuracy"},
    )
    assert ranking.networks == ["a", "b"]
    assert [row.candidate for row in ranking.fine_tuned()] == ["a, fine-tuned", "b, fine-tuned"]
    text = " ".join(repr(ranking).split())
    assert "Of the finalists 'b, fine-tuned' is the best: 0.970, +0.070" in text
    assert "best of the others by published accuracy" in text


def test_what_could_not_be_loaded_or_fitted_is_named(make_ranking):
    ranking = make_ranking({"a": (0.9, 0.02)}, left_out={"owner/bert": "ValueError: no image network"})
    failed = FitRecord("broken", 0, {}, error="WeightsError: damaged")
    comparison = replace(ranking.comparison, runs=(*ranking.comparison.runs, failed))
    text = " ".join(repr(replace(ranking, comparison=comparison)).split())
    assert "'owner/bert' is on this machine and cannot be loaded: ValueError: no image network" in text
    assert "'broken' failed on split 1 and is left out: WeightsError: damaged" in text


def test_a_ranking_goes_into_a_frame_into_json_and_through_a_pickle(three):
    frame = three.frame()
    assert frame.index.tolist() == three.networks
    assert ["name", *frame.columns] == [field.name for field in fields(RankedNetwork)]
    content = json.loads(json.dumps(three.to_dict(), allow_nan=False))
    assert content["recommended"] == "small"
    assert [network["name"] for network in content["networks"]] == three.networks
    assert [control["candidate"] for control in content["controls"]] == ["dummy", "pixels", "frozen_random"]
    assert repr(pickle.loads(pickle.dumps(three))) == repr(three)


def test_notebooks_show_every_table_as_html(three):
    html = three._repr_html_()
    assert html.startswith("<div class='sktl-ranking'>")
    assert html.count("<table>") == 3


def test_the_plot_holds_what_the_record_holds(three):
    display = three.plot()
    assert isinstance(display, BackboneRankingDisplay)
    assert display.names == three.networks
    assert (display.leading_group, display.recommended) == (["large", "small"], "small")
    assert display.controls == pytest.approx({"dummy": 0.5, "pixels": 0.6, "frozen_random": 0.65})
