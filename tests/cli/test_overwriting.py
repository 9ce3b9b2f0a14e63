"""No command writes onto what it reads: every output that a command declares, against everything that it is given."""

import os
from hashlib import sha256
from pathlib import Path
from typing import get_type_hints

import pytest
from PIL import Image

from sktl.cli._app import app

# What each command is given, by the name of the parameter; in braces the file among it that must not be lost.
GIVEN = {
    "compare": {
        "folder": "photos",
        "groups": "groups.csv",
        "weights": "weights.pth",
        "resume": "fits.jsonl",
    },
    "check": {"folder": "photos"},
    "compare --target label": {"table": "photos.csv", "root": "photos"},
    "rank --local": {"folder": "photos", "groups": "groups.csv", "resume": "fits.jsonl"},
    "rank --local --target label": {"table": "photos.csv", "root": "photos"},
    "embed": {"images": "photos", "weights": "weights.pth"},
    "embed --target label": {"table": "photos.csv", "root": "photos"},
    "train": {"folder": "photos", "weights": "weights.pth"},
    "train --max-epochs 1": {"folder": "photos", "test_folder": "others"},
    "train --method frozen": {"features": "features.parquet"},
    "train --target label": {"table": "photos.csv", "root": "photos"},
    "predict": {"paths": ["model.safetensors", "photos", "single.png"]},
    "predict --backbone resnet18": {"paths": ["photos", "single.png"], "weights": "weights.pth"},
    "predict --backbone resnet18 --target label": {"table": "photos.csv", "root": "photos"},
}
ENDINGS = {"plot": ".png", "report": ".html", "csv": ".csv", "resume": ".jsonl"}
OUTPUTS = {
    "check": (),
    "compare": ("resume", "plot", "csv", "report"),
    "rank": ("resume", "plot", "csv", "report"),
    "embed": ("output",),
    "train": ("output",),
    "predict": ("csv",),
    "demo": ("out",),  # a folder, and nothing is given
}
OUTPUT_ENDINGS = {"embed": ".parquet", "train": ".safetensors"}
OTHERS = ["others/ants/5.png", "others/bees/6.png"]
READ = {
    "photos": ["photos/ants/1.png", "photos/bees/deep/2.png"],
    "others": ["others/ants/5.png"],
    "model.safetensors": ["model.safetensors"],
    "single.png": ["single.png"],
    "features.parquet": ["features.parquet/more/1.parquet"],
}
READ |= {name: [name] for name in ("groups.csv", "photos.csv", "weights.pth", "fits.jsonl")}


def names_of(value):
    return value if isinstance(value, list) else [value]


def cases():
    for line, given in GIVEN.items():
        command = line.split()[0]
        for output in OUTPUTS[command]:
            others = [name for key, value in given.items() if key != output for name in names_of(value)]
            for victim in [file for name in others for file in READ[name]]:
                yield line, output, victim


@pytest.fixture
def work(tmp_path, monkeypatch):
    for file in [
        "photos/ants/1.png",
        "photos/ants/3.png",
        "photos/bees/deep/2.png",
        "photos/bees/4.png",
        "single.png",
        *OTHERS,
    ]:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (len(file), 0, 0)).save(tmp_path / file)
    (tmp_path / "photos.csv").write_text("path,label\nants/1.png,ants\nbees/deep/2.png,bees\n")
    (tmp_path / "groups.csv").write_text("path,group\nants/1.png,1\n")
    for name in ("weights.pth", "model.safetensors"):
        (tmp_path / name).write_bytes(b"numbers")
    (tmp_path / "fits.jsonl").touch()
    (tmp_path / "features.parquet" / "more").mkdir(parents=True)
    (tmp_path / "features.parquet" / "more" / "1.parquet").write_bytes(b"numbers")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder):
    return {file: sha256(file.read_bytes()).digest() for file in sorted(folder.rglob("*")) if file.is_file()}


def arguments_of(line, output, place):
    given = {**GIVEN[line], output: place}
    positional = [name for key in ("folder", "images", "paths") for name in names_of(given.pop(key, []))]
    options = [part for key, value in given.items() for part in (f"--{key.replace('_', '-')}", value)]
    return [*line.split(), *positional, *options, "--json"]


def test_every_path_that_a_command_declares_is_in_the_table():
    """A new option goes into GIVEN if it is read and into OUTPUTS if it is written, and is then tried below."""
    declared = {
        (command.callback.__name__, name)
        for command in app.registered_commands
        for name, kind in get_type_hints(command.callback).items()
        if "Path" in str(kind) or name in ("weights", "output")
    }
    known = {(line.split()[0], key) for line, given in GIVEN.items() for key in given}
    assert declared == known | {(command, output) for command, outputs in OUTPUTS.items() for output in outputs}


@pytest.mark.parametrize(("line", "output", "victim"), list(cases()))
def test_an_output_is_never_written_onto_what_is_read(run_sktl, work, line, output, victim):
    ending = ENDINGS.get(output) or OUTPUT_ENDINGS[line.split()[0]]
    (work / "links").mkdir()
    (work / "links" / f"symbolic{ending}").symlink_to(work / victim)
    os.link(work / victim, work / "links" / f"hard{ending}")
    before = contents(work)
    for place in [victim, f"links/../{victim}", f"links/symbolic{ending}", f"links/hard{ending}"]:
        result = run_sktl(*arguments_of(line, output, place))
        assert result.exit_code == 1, (place, result.output)
        assert result.stderr.splitlines()[-1].startswith("Error: "), result.stderr
        assert result.stdout == ""
        if Path(place).suffix == ending:
            assert "must be a file of its own" in result.stderr or "take the place of a picture" in result.stderr
        assert contents(work) == before
        assert (work / "links" / f"symbolic{ending}").is_symlink()


@pytest.mark.parametrize(
    ("first", "second"), [("csv", "report"), ("csv", "plot"), ("resume", "csv"), ("plot", "resume")]
)
def test_two_outputs_are_two_files(run_sktl, work, first, second):
    place = f"new{'.html' if 'report' in (first, second) else '.png'}"
    result = run_sktl("compare", "photos", f"--{first}", place, f"--{second}", f"photos/../{place}", "--json")
    assert result.exit_code == 1
    assert "must be a file of its own" in result.stderr
    assert not (work / place).exists()


def test_the_default_name_of_the_figure_is_no_excuse(run_sktl, work, monkeypatch):
    (work / "photos" / "ants" / "comparison.png").write_bytes((work / "single.png").read_bytes())
    monkeypatch.chdir(work / "photos" / "ants")
    result = run_sktl("compare", "..")
    assert result.exit_code == 1
    assert "--plot must be a file of its own. Got 'comparison.png' instead" in result.stderr


def test_a_name_that_gets_its_ending_later_is_judged_by_the_whole_name(run_sktl, work):
    (work / "weights.safetensors").write_bytes(b"numbers")
    result = run_sktl("train", "photos", "--weights", "weights.safetensors", "-o", "weights")
    assert "--output must be a file of its own" in result.stderr
    assert (work / "weights.safetensors").read_bytes() == b"numbers"


def test_a_picture_that_slipped_behind_an_option_is_not_overwritten(run_sktl, work):
    result = run_sktl("predict", "model.safetensors", "--csv", "photos/ants/1.png", "photos/ants/3.png")
    assert result.exit_code == 1
    assert "--csv must not take the place of a picture. Got 'photos/ants/1.png' instead" in result.stderr


def test_the_files_of_the_store_are_read_as_well(run_sktl, work, fresh_store):
    (fresh_store / "embeddings-v1-000001.sqlite").write_bytes(b"vectors")
    os.link(fresh_store / "embeddings-v1-000001.sqlite", work / "out.csv")
    result = run_sktl("embed", "photos", "-o", "out.csv")
    assert "--output must be a file of its own" in result.stderr


def test_a_former_result_is_replaced_even_within_the_folder(run_sktl, work, monkeypatch, photos):
    monkeypatch.chdir(work / "photos")
    for _ in range(2):
        result = run_sktl("embed", ".", "-o", "features.csv", "--quiet")
        assert result.exit_code == 0, result.output
