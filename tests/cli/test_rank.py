"""``sktl rank``: a folder or a table, networks by name or all that are here, and every form of the result."""

import json

import pytest
from PIL import Image

from sktl.backbones import Backbone
from sktl.cli import _rank


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def recorded(monkeypatch, make_ranking):
    """The calls of rank_backbones, which is replaced by one that takes no time."""
    import sktl.transferability

    calls = []

    def instead(X, y, backbones, **options):
        calls.append({"X": X, "y": y, "backbones": backbones, **options})
        if options["verbose"]:
            print("split 1/5")
        return make_ranking({"large": (0.98, 0.2), "small": (0.97, 0.02), "weak": (0.6, 0.001)})

    monkeypatch.setattr(sktl.transferability, "rank_backbones", instead)
    return calls


def test_a_folder_is_ranked_printed_and_drawn(photos, recorded, run_sktl, tmp_path):
    result = run_sktl("rank", photos, "--backbone", "tiny_fractal", "--backbone", "resnet18")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("Take 'small': it scores 0.970 in accuracy, with 20 ms per image. That is within")
    assert "Ranking on 20 of 20 images in 2 classes." in result.stderr
    assert "split 1/5" in result.stderr
    with Image.open(tmp_path / "ranking.png") as figure:
        assert figure.size[0] > 900
    assert recorded[0]["backbones"] == {"tiny_fractal": "tiny_fractal", "resnet18": "resnet18"}


def test_options_reach_the_ranking(photos, recorded, run_sktl):
    words = "--local --image-size 64 --cv 3 --repeats 2 --n-jobs 2 --seed 7 --device cpu --quiet --finalists 2"
    more = "--scoring f1_macro --scoring accuracy --near-duplicates ignore --on-error skip --resume fits.jsonl"
    result = run_sktl("rank", photos, *words.split(), *more.split())
    assert result.exit_code == 0, result.output
    (call,) = recorded
    expected = {"backbones": "local", "image_size": 64, "cv": 3, "n_repeats": 2, "n_jobs": 2, "random_state": 7}
    expected |= {"device": "cpu", "verbose": 0, "finalists": 2, "scoring": ["f1_macro", "accuracy"], "groups": None}
    expected |= {"duplicates": "ignore", "on_bad_image": "skip", "precision": "auto"}
    assert {name: call[name] for name in expected} == expected
    assert str(call["resume"]) == "fits.jsonl"


def test_a_file_of_weights_goes_behind_the_name_of_its_network(photos, recorded, run_sktl, tmp_path):
    from safetensors.torch import save_file
    from torchvision.models import squeezenet1_1

    save_file(squeezenet1_1(num_classes=3).state_dict(), tmp_path / "mine.safetensors")
    backbone = f"squeezenet1_1={tmp_path / 'mine.safetensors'}"
    result = run_sktl("rank", photos, "--backbone", "tiny_fractal", "--backbone", backbone)
    assert result.exit_code == 0, result.output
    networks = recorded[0]["backbones"]
    assert list(networks) == ["tiny_fractal", "squeezenet1_1=mine.safetensors"]
    record = networks["squeezenet1_1=mine.safetensors"]
    assert isinstance(record, Backbone)
    assert record.weights.endswith("mine.safetensors")


@pytest.mark.parametrize("output", ["--csv", "--resume"])
def test_a_file_of_weights_is_not_written_onto(photos, recorded, run_sktl, tmp_path, output):
    (tmp_path / "mine.pth").write_bytes(b"weights")
    result = run_sktl("rank", photos, "--backbone", "resnet18=mine.pth", output, "mine.pth")
    assert result.exit_code == 1
    assert f"{output} must be a file of its own" in result.stderr
    assert (tmp_path / "mine.pth").read_bytes() == b"weights"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give --backbone, once for each network, or --local"),
        (["--local", "--backbone", "tiny_fractal"], "give --backbone, once for each network, or --local"),
        (["--local", "--finalists", "-1"], "Invalid value for '--finalists'"),
        (["--local", "--target", "label"], "is for --table"),
    ],
)
def test_what_does_not_go_together_is_refused(photos, run_sktl, recorded, words, message):
    result = run_sktl("rank", photos, *words)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())
    assert recorded == []


def test_a_network_twice_and_a_wrong_name_are_one_message(photos, run_sktl):
    result = run_sktl("rank", photos, "--backbone", "tiny_fractal", "--backbone", "tiny_fractal")
    assert (result.exit_code, "--backbone must name each network once" in result.stderr) == (1, True)
    result = run_sktl("rank", photos, "--backbone", "tiny_fractl")
    assert (result.exit_code, "Did you mean 'tiny_fractal'?" in result.stderr) == (1, True)


def test_json_is_all_that_stands_on_stdout(photos, recorded, run_sktl, tmp_path):
    result = run_sktl("rank", photos, "--local", "--json", "--csv", "networks.csv", "--report", "page")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["recommended"] == "small"
    assert not (tmp_path / "ranking.png").exists()
    assert (tmp_path / "networks.csv").read_text().startswith("name,mean,sd,difference")
    assert "Which network?" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_table_of_numbers_is_regression(photos, recorded, run_sktl, tmp_path):
    files = sorted(photos.rglob("*.png"))
    lines = [f"photos/{file.relative_to(photos)},{number / 2}" for number, file in enumerate(files)]
    (tmp_path / "table.csv").write_text("\n".join(["path,price", *lines]))
    result = run_sktl("rank", "--table", "table.csv", "--target", "price", "--root", photos.parent, "--local")
    assert result.exit_code == 0, result.output
    assert recorded[0]["task"] == "regression"


def test_a_real_ranking_of_the_bundled_network(photos, run_sktl):
    options = "--backbone tiny_fractal --cv 2 --quiet --near-duplicates ignore"
    result = run_sktl("rank", photos, *options.split())
    assert result.exit_code == 0, result.output
    assert "'tiny_fractal', the only network, scores" in result.stdout
    assert _rank.DEFAULT_PLOT.exists()
