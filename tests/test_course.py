"""The course notebook: stored without outputs, plain Python, and it runs offline from the top to the bottom."""

import ast
import importlib
import json
import re
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[1] / "docs" / "course.ipynb"
CONTENT = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
CODE = {cell["id"]: "".join(cell["source"]) for cell in CONTENT["cells"] if cell["cell_type"] == "code"}
SECONDS = 300  # promised on two cores; of one processor here, since other tests may run beside this one
NO_NETWORK = """
import socket

def refuse(*arguments):
    raise OSError("There is no network.")

socket.socket.connect = socket.getaddrinfo = refuse
"""
TAKEN = "import time; print(time.process_time())"


def test_it_is_stored_without_outputs_for_any_python_kernel():
    assert CONTENT["metadata"]["kernelspec"]["name"] == "python3"
    assert [cell["id"] for cell in CONTENT["cells"] if cell.get("outputs") or cell.get("execution_count")] == []
    assert len({cell["id"] for cell in CONTENT["cells"]}) == len(CONTENT["cells"])


def test_what_it_imports_is_public():
    imported = [
        (node.module, alias.name)
        for code in CODE.values()
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    ours = [(module, name) for module, name in imported if module.partition(".")[0] == "sktl"]
    assert len(ours) >= 8
    assert [f"{module}.{name}" for module, name in imported if not hasattr(importlib.import_module(module), name)] == []
    assert [f"{module}.{name}" for module, name in ours if name not in importlib.import_module(module).__all__] == []


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What each cell prints and shows, by its id, when all of them are run in an empty folder without a network."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    first, last = (nbformat.v4.new_code_cell(code, id=name) for name, code in (("first", NO_NETWORK), ("last", TAKEN)))
    notebook.cells = [first, *notebook.cells, last]
    folder = tmp_path_factory.mktemp("course")
    where = {"metadata": {"path": str(folder)}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKTL_CACHE_DIR", str(folder / "store"))
        patch.delenv("MPLBACKEND", raising=False)  # the kernel takes its own, which shows figures below the cells
        nbclient.NotebookClient(notebook, kernel_name="python3", timeout=1800, resources=where).execute()
    nbformat.write(notebook, folder / "executed.ipynb")  # for whoever looks into a failure
    return {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}


def text_of(outputs):
    """Join what a cell printed, and its result as text."""
    return "".join(output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs)


@pytest.mark.slow
def test_it_runs_in_the_time_promised_without_a_network_or_a_warning_and_finds_and_draws_what_its_text_says(said):
    assert [name for name, outputs in said.items() if any(output.get("name") == "stderr" for output in outputs)] == []
    drawn = [name for name, outputs in said.items() if any("image/png" in output.get("data", {}) for output in outputs)]
    assert drawn == ["data", "map", "compare-plot", "costs", "mistakes", "labels-plot", "second-plot"]
    assert text_of(said["compare"]).startswith("Transfer helps: ")
    assert set(re.findall(r"[\d.]+", text_of(said["same-numbers"]))) == {"0."}
    assert re.search(r"^frozen +transfer helps$", text_of(said["verdict"]), re.MULTILINE)
    assert text_of(said["second"]).startswith("Undecided: ")
    assert text_of(said["all-labels"]).startswith("Practically equal: ")
    assert text_of(said["labels"]).startswith("Transfer saves labels: ")
    needed = re.search(r"^ +20  .*\)  +(\d+) \(", text_of(said["labels"]), re.MULTILINE)
    assert 90 < int(needed[1]) < 150
    varies = re.findall(r"by (0\.\d+) \(SD\)", text_of(said["pairing"]))
    assert float(varies[0]) < 0.7 * float(varies[1])
    widths = [float(high) - float(low) for low, high in re.findall(r"(\S+) to (\S+)", text_of(said["interval"]))]
    assert widths[:3] == sorted(widths[:3])
    assert widths[2] == pytest.approx(2.08 * widths[0], rel=0.03)  # 2.776 / 2 * 1.5
    assert float(text_of(said["last"])) < SECONDS
