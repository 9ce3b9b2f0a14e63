import json

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


def test_backbones_are_listed_one_per_line():
    result = run("backbones")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == list_backbones()
    assert json.loads(run("backbones", "--json").stdout) == list_backbones()


def test_who_names_a_network_that_there_is_not_is_told_where_the_names_are(tmp_path):
    (tmp_path / "a.png").touch()
    result = run("embed", str(tmp_path / "a.png"), "-o", str(tmp_path / "a.csv"), "--backbone", "resnet1")
    assert result.exit_code == 1
    assert result.stderr.endswith("Did you mean 'resnet18'? 'sktl backbones' lists them.\n")
