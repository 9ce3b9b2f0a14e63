"""Every public object says in numpydoc's form what it takes, returns and raises, and what it says is true."""

import ast
import doctest
import inspect
import pkgutil
import textwrap
from importlib import import_module

import pytest
from numpydoc.docscrape import NumpyDocString
from numpydoc.validate import validate
from sklearn.datasets import load_digits
from skorch.callbacks import Callback

import sktl
import sktl.inference

PUBLIC_MODULES = (
    "sktl",
    "sktl.images",
    "sktl.backbones",
    "sktl.datasets",
    "sktl.feature_extraction",
    "sktl.fine_tuning",
    "sktl.training.callbacks",
    "sktl.models",
    "sktl.displays",
    "sktl.near_duplicates",
    "sktl.comparison",
    "sktl.label_efficiency",
    "sktl.transferability",
    "sktl.exceptions",
)
# Its other names are for the rooms above.
PUBLIC_OF_INFERENCE = ("EmbeddedChunk", "ImageEmbeddings", "embed_chunk", "embed_images", "pickled_extractor")
# All of numpydoc's checks, without:
LEFT_OUT = {
    "GL01",  # the summary stands on the line of the opening quotes
    "ES01",  # one line may be enough
    "SA01",  # not everything has a relative
    "RT02",  # what is returned has a name in scikit-learn, as in "self : Estimator"
    "RT03",  # "Backbone" alone says enough of what load_backbone returns
}
HOOKS = {name for name in vars(Callback) if name.startswith("on_")}
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def public_objects():
    """Path → object, for public classes and functions, and the methods and properties that sktl itself gives them."""
    found = {}
    for module in map(import_module, PUBLIC_MODULES):
        for name in module.__all__:
            value = getattr(module, name)
            if callable(value):
                found[f"{module.__name__}.{name}"] = value
    return found | {f"sktl.inference.{name}": getattr(sktl.inference, name) for name in PUBLIC_OF_INFERENCE}


def own_members(cls):
    for name in dir(cls):
        member = inspect.getattr_static(cls, name)
        function = getattr(member, "fget", getattr(member, "__func__", member))
        if name in HOOKS and issubclass(cls, Callback):
            continue  # skorch says what they are
        if not name.startswith("_") and getattr(function, "__module__", "").startswith("sktl."):
            yield name, function


PUBLIC = public_objects()
MEMBERS = {
    f"{path}.{name}": function
    for path, value in PUBLIC.items()
    if inspect.isclass(value)
    for name, function in own_members(value)
}
DOCUMENTED = PUBLIC | MEMBERS
ESTIMATORS = [value for value in PUBLIC.values() if inspect.isclass(value) and hasattr(value, "fit")]
MODULES = [import_module(info.name) for info in pkgutil.walk_packages(sktl.__path__, "sktl.")]


def is_error(value):
    return inspect.isclass(value) and issubclass(value, Exception)


def test_every_public_object_has_numpydocs_form():
    problems = []
    for path in DOCUMENTED:
        left_out = set(LEFT_OUT)
        if path in MEMBERS or is_error(PUBLIC[path]):
            left_out.add("EX01")  # the class has the example, and an error needs none
        problems += [f"{path}: {code}: {text}" for code, text in validate(path)["errors"] if code not in left_out]
    assert problems == []


def test_every_public_object_documents_the_errors_that_it_raises_itself():
    problems = []
    for path, value in DOCUMENTED.items():
        functions = [getattr(value, "__post_init__", None)] if inspect.isclass(value) else [inspect.unwrap(value)]
        raised = set().union(*(raised_in(function) for function in functions if inspect.isfunction(function)))
        document = NumpyDocString(inspect.getdoc(value))
        documented = {name.strip() for entry in document["Raises"] for name in entry.type.split(",")}
        problems += [f"{path} raises {error}" for error in raised - documented]
    assert problems == []


def raised_in(function):
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    calls = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)]
    return {ast.unparse(call.func) for call in calls}


def test_defaults_in_the_text_are_those_of_the_signature():
    problems = []
    for path, value in PUBLIC.items():
        signature = {} if is_error(value) else inspect.signature(value).parameters
        for parameter in NumpyDocString(inspect.getdoc(value))["Parameters"] if signature else ():
            names = [name.strip().lstrip("*") for name in parameter.name.split(",")]
            stated = parameter.type.partition("default=")[2]
            problems += [f"{path}: {name}" for name in names if not is_default(stated, signature[name].default)]
    assert problems == []


def is_default(stated, default):
    if not stated or default is inspect.Parameter.empty:
        return bool(stated) == (default is not inspect.Parameter.empty)
    return stated.startswith("ImageNet's") or ast.literal_eval(stated) == default


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: estimator.__name__)
def test_documents_every_fitted_attribute_and_no_other(estimator):
    digits = load_digits()
    rows = digits.data[:20], digits.target[:20]
    parameters = inspect.signature(estimator).parameters
    options = {"early_stopping": True, "unfreeze_depth": 0} if "max_epochs" in parameters else {}
    if "estimator" in parameters:
        options = {"estimator": sktl.FineTuneClassifier(unfreeze_depth=0)}
    fitted = estimator(**options).fit(*rows)
    documented = {entry.name for entry in NumpyDocString(inspect.getdoc(estimator))["Attributes"]}
    public = {name for name in dir(fitted) if name.endswith("_") and not name.startswith("_") and hasattr(fitted, name)}
    assert public == documented - {"feature_names_in_"}  # rows of an array have no names


def modules_with_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    for module in MODULES:
        tests = [test for test in finder.find(module) if test.examples]
        if tests:
            yield pytest.param(tests, id=module.__name__)


@pytest.mark.parametrize("tests", list(modules_with_examples()))
def test_examples_give_what_they_show(tests, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(optionflags=OPTIONS, verbose=False)
    said = []
    for test in tests:
        runner.run(test, out=said.append)
    assert not runner.summarize(verbose=False).failed, "".join(said)
