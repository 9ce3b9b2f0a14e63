"""The pages tell the truth: their Python runs, their links lead somewhere, and they quote messages that exist.

Conventions of README.md, CONTRIBUTING.md and docs/**/*.md:

- a block ```python with prompts (>>>) must give what it shows; without prompts it must run;
- the blocks of one page share their names, from the top to the bottom, and run in an empty folder that holds only
  `photos/`, a folder of pictures with one sub-folder per class;
- where a ```text block follows, in README.md and the five-minute start, that is what the block before it prints of the
  photographs of clothes in the folder of real data;
- a block ```python notest is not run; NOT_RUN says how many there may be, and why.
"""

import ast
import doctest
import re
import runpy
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
QUICK_EXAMPLES = {"plot_frozen_features.py", "plot_layers_and_pooling.py"}  # `make docs` runs all of them
# Docstrings make the same calls, quickly; `make docs` runs all pages.
SLOW_PAGES = {"docs/user_guide/displays.md", "docs/user_guide/label_efficiency.md"}
NOT_RUN = {
    "docs/how_do_i.md": 1,  # ONNX, which the page on serving runs
    "docs/user_guide/anomaly_detection.md": 1,  # PyOD, which takes long to import; a test runs it
    "docs/user_guide/beyond_one_machine.md": 4,  # a cluster; Ray, Spark and Daft
    "docs/user_guide/fine_tuning.md": 1,  # callbacks of scikit-learn 1.9
    "docs/user_guide/inference.md": 1,  # a cluster; tests/comparison/test_cluster.py has one
    "docs/user_guide/negative_transfer.md": 2,
    "docs/user_guide/serving.md": 2,  # a server, and skops, which a test reads the page for
    "docs/user_guide/comparison.md": 2,  # full trainings take minutes
}
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
BLOCK = re.compile(r"^```python(?P<mark> notest)?\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
words_and_numbers = runpy.run_path(str(ROOT / "releasing" / "try_wheel.py"))["words_and_numbers"]
PRINTED = re.compile(r"\n\n```text\n(.*?)^```$", BLOCK.flags)
LINK = re.compile(r"\]\((?!https?:)(?P<path>[^)#\s]*)(?:#(?P<anchor>[^)\s]*))?\)")


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def blocks_of(page):
    """Yield (code, line of the first line of code, whether it is marked as not run)."""
    text = page.read_text(encoding="utf-8")
    for block in BLOCK.finditer(text):
        yield block["code"], text.count("\n", 0, block.start("code")), bool(block["mark"])


with_code = pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=name_of(page), marks=pytest.mark.slow if name_of(page) in SLOW_PAGES else ())
        for page in PAGES
        if any(blocks_of(page))
    ],
)


@pytest.fixture
def folder_with_photos(tmp_path, monkeypatch):
    from sktl.datasets import make_fractals

    images, target = make_fractals(24, n_classes=2, random_state=0)
    for i, (image, label) in enumerate(zip(images, target, strict=True)):
        folder = tmp_path / "photos" / ("ants", "bees")[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{i}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@with_code
def test_python_of_a_page_runs(page, folder_with_photos):
    names = {"__name__": "__main__"}
    runner = doctest.DocTestRunner(optionflags=OPTIONS, verbose=False)
    for code, line, marked in blocks_of(page):
        if marked:
            continue
        if ">>>" not in code:
            exec(compile("\n" * line + code, page, "exec"), names)
            continue
        said = []
        test = doctest.DocTestParser().get_doctest(code, names, name_of(page), str(page), line)
        runner.run(test, out=said.append, clear_globs=False)
        names = test.globs
        assert not runner.summarize(verbose=False).failed, "".join(said)


@pytest.mark.slow
@pytest.mark.parametrize("page", ["README.md", "docs/quickstart.md"])
def test_pages_show_what_they_print_of_real_photographs(page, shared_data, tmp_path, monkeypatch, capsys):
    """The words as they stand, and numbers with a fraction within .02: other machines round otherwise."""
    (tmp_path / "photos").symlink_to(shared_data / "datasets" / "clothing10" / "images")
    monkeypatch.chdir(tmp_path)
    text, names, n_shown = (ROOT / page).read_text(encoding="utf-8"), {"__name__": "__main__"}, 0
    for block in BLOCK.finditer(text):
        if block["mark"] or ">>>" in block["code"]:
            continue
        exec(compile(block["code"], page, "exec"), names)
        words, numbers = words_and_numbers(capsys.readouterr().out)
        if shown := PRINTED.match(text, block.end()):
            expected, values = words_and_numbers(shown[1])
            assert words == expected
            assert numbers == pytest.approx(values, abs=0.02)
            n_shown += 1
    assert n_shown


def test_few_blocks_are_left_out():
    left_out = {name_of(page): sum(marked for _, _, marked in blocks_of(page)) for page in PAGES}
    assert {page: number for page, number in left_out.items() if number} == NOT_RUN


def test_links_lead_somewhere():
    broken = [
        f"{name_of(page)}: {link[0]}" for page in PAGES for link in links_of(page) if not leads_somewhere(page, link)
    ]
    assert broken == []


def test_blocks_of_code_are_closed():
    """An open one swallows the headings and tables that follow it."""
    fences = {
        name_of(page): re.findall(r"^ *```+(.*)$", page.read_text(encoding="utf-8"), re.MULTILINE) for page in PAGES
    }
    assert fences["README.md"]
    assert [page for page, marks in fences.items() if not all(marks[::2]) or any(marks[1::2])] == []


def links_of(page):
    return LINK.finditer(page.read_text(encoding="utf-8"))


def leads_somewhere(page, link):
    target = (page.parent / link["path"]).resolve() if link["path"] else page
    if not link["anchor"] or not target.exists():
        return target.exists()
    headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
    return link["anchor"] in {re.sub(r"[^\w\- ]", "", h).strip().lower().replace(" ", "-") for h in headings}


def test_links_of_the_site_that_lead_nowhere_are_found(tmp_path):
    (tmp_path / "api").mkdir()
    (tmp_path / "index.html").write_text('<a href="api/A.html#fit">good</a> <a href="api/B.html">no page</a>')
    (tmp_path / "api/A.html").write_text('<p id="fit"><a href="../index.html?x=1#top">good</a><img src="no.png"></p>')
    (tmp_path / "far.html").write_text('<a href="https://a.b/c">not judged</a> <a href="api/A.html#score">no place</a>')
    broken = runpy.run_path(str(ROOT / "docs/check_links.py"))["broken_links"]
    assert list(broken(tmp_path)) == [
        "api/A.html: no.png",
        "far.html: api/A.html#score",
        "index.html: api/B.html",
    ]


def test_files_that_pages_name_are_there():
    path_of = re.compile(r"\b(?:benchmarks|examples|pretraining|tests)/[\w/]+\.py")
    named = [(page, path) for page in PAGES for path in path_of.findall(page.read_text(encoding="utf-8"))]
    assert named
    assert [f"{name_of(page)}: {path}" for page, path in named if not (ROOT / path).exists()] == []


def test_every_page_is_in_the_table_of_contents():
    pages = [page for page in PAGES if "docs" in page.parts]
    listed = sorted(target for page in pages for target in listed_by(page))
    pages += (ROOT / "docs").glob("*.ipynb")
    assert listed == sorted(page for page in pages if page != ROOT / "docs/index.md")


def listed_by(page):
    """Yield the pages that the toctrees of a page name; what is generated has no source here."""
    for toctree in re.findall(r"```\{toctree\}(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for entry in re.findall(r"^(?!:).+$", toctree, re.MULTILINE):
            name = re.sub(r".*<(.*)>", r"\1", entry)
            if name != "auto_examples/index":
                target = (page.parent / f"{name}.md").resolve()
                yield target if target.exists() else target.with_suffix(".ipynb")


def test_api_lists_the_public_names():
    """Of `sktl.inference` those alone that are for users; the others are for the rooms above."""
    import importlib

    some = {"sktl.inference": {"EmbeddedChunk", "ImageEmbeddings", "embed_chunk", "embed_images", "pickled_extractor"}}
    text = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    for module, section in re.findall(r"^## `(sktl[.\w]*)`\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL):
        listed = importlib.import_module(module).__all__
        names = some.get(module, {name for name in listed if not name.startswith("__")})
        rows = set(re.findall(r"^    (\w+)$", section, re.MULTILINE))
        assert rows <= names
        assert {name for name in names if name in rows or f"`{name}`" in section} == names
        if module == "sktl":
            assert rows == names


def test_make_targets_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    missing = [f"{name_of(page)}: make {target}" for page in PAGES for target in named_targets(page) - targets]
    assert missing == []


def named_targets(page):
    code = re.findall(r"```console\n.*?```|`[^`\n]+`", page.read_text(encoding="utf-8"), re.DOTALL)
    return {target for part in code for target in re.findall(r"(?:^|\$ |`)make (?:[A-Z_]+=\S+ )*([a-z-]+)", part)}


def test_troubleshooting_quotes_messages_of_the_code():
    messages = ["\0".join(pieces) for file in (ROOT / "sktl").rglob("*.py") for pieces in strings_of(file)]
    quoted = re.findall(r"^### `(.*)`$", (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(quoted) > 20
    for heading in quoted:
        pattern = re.compile(".*".join(re.escape(part.strip(" ")) for part in heading.split("…")), re.DOTALL)
        assert any(pattern.search(message) for message in messages), heading


def strings_of(file):
    """Yield the constant pieces of every string of a file."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.JoinedStr):
            yield [part.value for part in node.values if isinstance(part, ast.Constant)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield [node.value]


def test_the_page_on_the_command_line_names_its_options():
    typer = pytest.importorskip("typer")
    from sktl.cli._app import app

    commands = dict(typer.main.get_command(app).commands)
    commands.update(commands.pop("cache").commands)
    parameters = [parameter for command in commands.values() for parameter in command.params]
    own = {option for parameter in parameters for option in [*parameter.opts, *parameter.secondary_opts]}
    own = {option for option in own if option.startswith("--")}
    text = (ROOT / "docs/user_guide/command_line.md").read_text(encoding="utf-8")
    assert set(re.findall(r"--[a-z][a-z-]+", text)) - {"--version", "--help"} == own


@pytest.mark.parametrize(
    "example",
    [
        pytest.param(path, id=path.name, marks=() if path.name in QUICK_EXAMPLES else pytest.mark.slow)
        for path in EXAMPLES
    ],
)
def test_example_runs(example, tmp_path, monkeypatch):
    """In this process, which has torch already, and where warnings are errors as in every test."""
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(example), run_name="__main__")


def test_examples_are_few_and_titled():
    assert 3 <= len(EXAMPLES) <= 20
    for example in EXAMPLES:
        title, rule = ast.get_docstring(ast.parse(example.read_text(encoding="utf-8"))).splitlines()[:2]
        assert rule == "=" * len(title)
