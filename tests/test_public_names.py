"""The public names: those that are promised exist, those that exist are listed, and each has one home."""

import ast
import inspect
import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import sktl

FOLDERS = sorted(info.name for info in pkgutil.iter_modules(sktl.__path__, "sktl.") if info.ispkg)
PUBLIC_MODULES = [*FOLDERS, "sktl.exceptions", "sktl.training.callbacks"]
# Rooms without public names of their own, whose names others offer.
OFFERED_AGAIN = (
    "sktl._statistics",
    "sktl.checkpoints",
    "sktl.stages",
    "sktl.training",
)  # public names that live in a room without any
PROMISED = {
    "sktl": [
        *("FineTuneClassifier", "FineTuneRegressor", "PretrainedClassifier", "PretrainedFeatureExtractor"),
        *("PatchAnomalyDetector", "compare_transfer"),
    ],
    "sktl.anomaly_detection": ["PatchAnomalyDetector"],
    "sktl.images": ["load_image_folder", "load_image_table"],
    "sktl.backbones": ["Backbone", "list_backbones", "load_backbone"],
    "sktl.comparison": ["TransferComparison", "compare_transfer"],
    "sktl.inference": ["EmbeddedChunk", "ImageEmbeddings", "embed_chunk", "embed_images", "pickled_extractor"],
    "sktl.domain_adaptation": ["DomainShift", "adapt_batch_norm", "domain_shift"],
    "sktl.models": ["load_model", "save_model"],
    "sktl.label_efficiency": ["LabelEfficiency", "label_efficiency", "label_first"],
    "sktl.transferability": ["bias_corrected_score", "log_me", "nearest_neighbour_score", "recommend_strategy"],
    "sktl.near_duplicates": ["find_leaks", "inspect_images", "near_duplicate_groups", "suggested_groups"],
    "sktl.displays": [
        "AnomalyMapDisplay",
        *("ComparisonDisplay", "CostDisplay", "DepthSweepDisplay", "EmbeddingMapDisplay", "LabelEfficiencyDisplay"),
        *("MistakesDisplay", "TrainingCurveDisplay", "confusion_display"),
    ],
    "sktl.datasets": ["load_moved_digits", "make_fractals"],
    "sktl.training.callbacks": ["CompileNetwork", "ExponentialMovingAverage", "GradualUnfreezing", "L2SP"],
    "sktl.exceptions": ["ImageReadError", "WeightsError", "WeightsMismatchError", "WeightsNotFoundError"],
}


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in PROMISED.items() for name in names])
def test_promised_names_resolve(module, name):
    assert hasattr(import_module(module), name)
    assert name in import_module(module).__all__


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_lists_exactly_what_it_imports(name):
    """Read from the source, since importing a sub-module puts its name into the folder."""
    module = import_module(name)
    tree = ast.parse(inspect.getsource(module))
    bound = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module.startswith((f"{name}.", *OFFERED_AGAIN)):
            bound.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name != "__getattr__":
            bound.add(node.name)
    assert set(module.__all__) == bound
    assert len(set(module.__all__)) == len(module.__all__)


@pytest.mark.parametrize("name", PUBLIC_MODULES)
def test_listed_names_resolve(name):
    module = import_module(name)
    assert all(hasattr(module, listed) for listed in module.__all__)


def test_exceptions_lists_every_error_in_it():
    from sktl import exceptions

    defined = {name for name, value in vars(exceptions).items() if inspect.isclass(value)}
    assert set(exceptions.__all__) == defined


def test_top_level_names_are_those_of_their_homes():
    for name, home in sktl._HOMES.items():
        assert getattr(sktl, name) is getattr(import_module(home), name)
    assert set(sktl._HOMES) | {"__version__"} == set(sktl.__all__)


def test_top_level_shows_its_names_before_they_are_loaded():
    program = "import sktl; print(*dir(sktl))"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert set(sktl.__all__) <= set(shown)


def test_an_unknown_top_level_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'sktl' has no attribute 'FineTune'"):
        sktl.FineTune  # noqa: B018


def test_type_checkers_see_the_lazy_names():
    tree = ast.parse(Path(sktl.__file__).read_text(encoding="utf-8"))
    imported = {
        (alias.name, node.module)
        for branch in tree.body
        if isinstance(branch, ast.If)
        for node in branch.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported == set(sktl._HOMES.items())


def test_names_that_moved_are_found_where_they_were():
    from sktl import comparison

    for name, home in comparison._MOVED.items():
        assert name in import_module(home).__all__
        assert getattr(comparison, name) is getattr(import_module(home), name)
    for name, new in comparison._RENAMED.items():
        assert getattr(comparison, name) is getattr(comparison, new)
    with pytest.raises(AttributeError, match="has no attribute 'compare'"):
        comparison.compare  # noqa: B018
