"""Files beside the code that a release rests on: the workflow, the templates, the citation and the changelog."""

import re
from pathlib import Path

import pytest

import sktl

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"))
RELEASE = sktl.__version__.partition(".dev")[0]


def read(path):
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def steps_of(workflow):
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_only_read_and_takes_actions_by_their_tags(path):
    workflow = read(path)
    assert workflow["permissions"] == {"contents": "read"}
    used = [step["uses"] for step in steps_of(workflow) if "uses" in step]
    assert used
    assert [action for action in used if not re.fullmatch(r"[\w-]+/[\w-]+@v\d+\.\d+\.\d+", action)] == []
    assert all(0 < job["timeout-minutes"] <= 60 for job in workflow["jobs"].values())


def test_the_workflow_calls_targets_of_the_makefile_and_nothing_else():
    commands = [step["run"] for step in steps_of(read(".github/workflows/ci.yml")) if "run" in step]
    targets = {re.fullmatch(r"make ([a-z-]+) PYTHON=python", command)[1] for command in commands}
    assert targets == {"lint", "test", "test-minimum", "docs", "test-wheel"}
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert targets <= set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))


def test_the_workflow_tests_three_systems_and_the_oldest_python():
    jobs = read(".github/workflows/ci.yml")["jobs"]
    systems = jobs["test"]["strategy"]["matrix"]["os"]
    assert {system.split("-")[0] for system in systems} == {"ubuntu", "macos", "windows"}
    oldest = [step["with"]["python-version"] for step in jobs["minimum"]["steps"] if "python" in step.get("uses", "")]
    assert [f'requires-python = ">={version}"' in (ROOT / "pyproject.toml").read_text() for version in oldest] == [True]


def test_targets_without_a_file_are_phony():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[1].split()
    assert sorted(phony) == sorted(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_a_form_for_issues_asks_for_something(path):
    form = read(path)
    assert form["name"]
    assert form["description"]
    assert {part["type"] for part in form["body"]} <= {"checkboxes", "dropdown", "input", "markdown", "textarea"}
    asked = [part for part in form["body"] if part["type"] != "markdown"]
    assert all(part["id"] and part["attributes"]["label"] for part in asked)
    assert any(part.get("validations", {}).get("required") for part in asked)


def test_the_citation_names_this_version_and_its_licence():
    citation = read("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert citation["version"] == sktl.__version__
    assert f'license = "{citation["license"]}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert all(author["name"] for author in citation["authors"])


def test_the_changelog_begins_with_this_version_and_says_nothing_twice():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(.*?)\]", text, re.MULTILINE)
    assert versions[0] == RELEASE
    assert len(set(versions)) == len(versions)
    kinds = re.findall(r"^### (.*)$", text, re.MULTILINE)
    order = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
    assert kinds == sorted(kinds, key=order.index)
    entries = re.findall(r"^- .*(?:\n  .*)*", text, re.MULTILINE)
    assert sorted(set(entries)) == sorted(entries)


def test_a_release_is_not_a_version_in_development_in_one_place_only():
    """The date stands in the changelog when the version has lost its .dev."""
    heading = re.search(r"^## \[.*?\](.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)[1]
    is_dated = bool(re.search(r"\d{4}-\d{2}-\d{2}", heading))
    assert is_dated == (sktl.__version__ == RELEASE)
    assert is_dated or "not released" in heading
