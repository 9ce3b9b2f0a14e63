"""`py.typed` keeps its word: a strictly checked script finds every name, and a wrong call is found."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sktl

pytest.importorskip("mypy", reason="comes with the extra lint")
ROOT = Path(__file__).parents[1]
EXAMPLE = Path(__file__).parent / "typing_example.py"
# sktl is looked at as an installed package is: mypy tells what it finds in the script alone.
SETTINGS = """
[mypy]
strict = true
python_version = 3.10
[mypy-sktl.*]
follow_imports = silent
"""
WRONG = {
    'PretrainedFeatureExtractor(layers="all")': 'Unexpected keyword argument "layers"',
    'PretrainedFeatureExtractor(on_error="skip")': "expected \"Literal['raise', 'nan']\"",
    "FineTuneClassifier(unfreeze_depth=1.5)": "expected \"int | Literal['all']\"",
    'FineTuneRegressor(max_epochs="ten")': '"max_epochs" to "FineTuneRegressor" has incompatible type',
    "FineTuneClassifier().fit([])": 'Missing positional argument "y"',
    "FineTuneClassifier().fit([], []).predict([]).shapes": 'has no attribute "shapes"',
    'compare_transfer([], [], baselin="dummy")': 'Unexpected keyword argument "baselin"',
    'rank_backbones([], [], [], task="regresion")': "incompatible type",
    'load_backbone("resnet18", weight=None)': 'Unexpected keyword argument "weight"',
    'make_fractals(image_size="48")': 'incompatible type "str"; expected "int"',
    'embed_images([], None, out="segments").mean()': '"ImageEmbeddings" has no attribute "mean"',
    "embed_images([], None, executor=2)": "No overload variant",
    "embed_chunk(b'', [], on_error='nan')": 'Unexpected keyword argument "on_error"',
    "save_model(None)": "Missing positional argument",
}
IMPORTS = """
from sktl import FineTuneClassifier, FineTuneRegressor, PretrainedFeatureExtractor, compare_transfer, rank_backbones
from sktl.backbones import load_backbone
from sktl.datasets import make_fractals
from sktl.inference import embed_chunk, embed_images
from sktl.models import save_model
"""


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """What mypy says of the example, and of the wrong calls by line: both in one run, which reads the package once."""
    folder = tmp_path_factory.mktemp("typing")
    (folder / "mypy.ini").write_text(SETTINGS)
    (folder / "example.py").write_text(EXAMPLE.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "wrong.py").write_text("\n".join([IMPORTS.strip(), *WRONG]), encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "example.py", "wrong.py"]
    done = subprocess.run(command, cwd=folder, env={"MYPYPATH": str(ROOT)}, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.slow
def test_a_strictly_checked_script_has_nothing_to_complain_of(checked):
    assert [line for line in checked if line.startswith("example.py")] == []
    assert any(line.startswith("wrong.py") for line in checked)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(WRONG)), ids=list(WRONG))
def test_a_wrong_call_is_found(checked, number):
    line = f"wrong.py:{len(IMPORTS.strip().splitlines()) + 1 + number}:"
    said = [one for one in checked if one.startswith(line) and ": error:" in one]
    assert any(list(WRONG.values())[number] in one for one in said), said


def test_the_example_uses_what_the_package_shows_at_the_top():
    imported = {
        alias.name
        for node in ast.walk(ast.parse(EXAMPLE.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "sktl"
        for alias in node.names
    }
    assert imported == set(sktl.__all__) - {"__version__"}
