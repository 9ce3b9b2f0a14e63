import json
import sys

import pytest
from typer.testing import CliRunner

from sktl.backbones import list_backbones
from sktl.cli import _app


def run(*arguments):
    return CliRunner().invoke(_app.app, arguments)


def test_version_is_that_of_the_installed_distribution(monkeypatch):
    monkeypatch.setattr(_app, "version", lambda name: {"sktl": "1.2.3"}[name])
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, "1.2.3\n")


def test_version_of_a_checkout_that_is_not_installed_is_said_to_be_unknown(monkeypatch):
    def missing(name):
        raise _app.PackageNotFoundError(name)

    monkeypatch.setattr(_app, "version", missing)
    result = run("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("unknown")


@pytest.mark.parametrize("arguments", [(), ("--nothing",), ("compar",)])
def test_wrong_usage_ends_with_code_2(arguments):
    assert run(*arguments).exit_code == 2


def test_help_lists_the_commands():
    result = run("--help")
    assert result.exit_code == 0
    assert "compare" in result.stdout


def test_backbones_are_listed_one_per_line_with_what_is_known_about_them():
    result = run("backbones")
    assert (result.exit_code, result.stderr) == (0, "")
    title, *lines = [line.split() for line in result.stdout.splitlines()]
    assert title == ["name", "source", "size", "pixels", "top-1", "licence", "here"]
    assert [line[0] for line in lines] == list_backbones()
    row = next(line for line in lines if line[0] == "resnet50")
    assert row[:7] == ["resnet50", "torchvision", "103", "MB", "224", "80.9", "%"]
    row = next(line for line in lines if line[0] == "tiny_fractal")
    assert (row[1], *row[-3:]) == ("bundled", "48", "BSD-3-Clause", "yes")


def test_backbones_as_json_and_by_pattern_and_source():
    cards = json.loads(run("backbones", "resnet*", "--json").stdout)
    assert [card["name"] for card in cards] == list_backbones("resnet*")
    assert cards[-1]["license"] == "BSD-3-Clause (torchvision)"
    bundled = json.loads(run("backbones", "--source", "bundled", "--json").stdout)
    assert [card["name"] for card in bundled] == ["tiny_formula", "tiny_fractal"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(("resnet",), "Write '*resnet*' for names"), (("--source", "torch"), "Did you mean 'torchvision'?")],
)
def test_backbones_that_there_are_not(arguments, said):
    result = run("backbones", *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert said in result.stderr


def test_who_names_a_network_that_there_is_not_is_told_where_the_names_are(tmp_path):
    (tmp_path / "a.png").touch()
    result = run("embed", str(tmp_path / "a.png"), "-o", str(tmp_path / "a.csv"), "--backbone", "resnet1")
    assert result.exit_code == 1
    assert result.stderr.endswith("Did you mean 'resnet18'? 'sktl backbones' lists them.\n")


def test_networks_of_timm_need_it_to_be_listed(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    for arguments in (["--source", "timm"], ["timm/*"]):
        result = run("backbones", *arguments)
        assert result.exit_code == 1
        assert "pip install 'sktl[timm]'" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("~/photos", "HOME/photos"),
        ("~", "HOME"),
        ("--report=~/page.html", "--report=HOME/page.html"),
        ("-o~/model", "-oHOME/model"),
        ("./~/photos", "./~/photos"),
        ("a~b", "a~b"),
        ("~nobody-of-this-name/a", "~nobody-of-this-name/a"),
        ("--scoring=f1", "--scoring=f1"),
    ],
)
def test_the_home_is_meant_where_a_path_begins(monkeypatch, tmp_path, written, read):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert _app._with_home(written) == read.replace("HOME", str(tmp_path))


def test_every_command_finds_the_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert run("cache", "path", "--folder=~/store").stdout == f"{tmp_path / 'store'}\n"
    for command in (("train", "~/none", "-o", "m"), ("compare", "~/none"), ("embed", "~/none", "-o", "a.csv")):
        assert f"{str(tmp_path / 'none')!r}" in run(*command).stderr
