"""The rooms stay apart: imports point down, private names have one door, and no file outgrows its budget."""

import ast
import configparser
import re
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import sktl

PACKAGE = Path(sktl.__file__).parent
MAX_LINES = 400
MAX_FUNCTION_LINES = 40
MAX_SHARE_OF_A_ROOM = 0.17
# Path inside the package → what is written there.
FILES = {
    file.relative_to(PACKAGE).as_posix(): file.read_text(encoding="utf-8") for file in sorted(PACKAGE.rglob("*.py"))
}
TREES = {file: ast.parse(text, file) for file, text in FILES.items()}


def imports_of(tree):
    """Yield (module, name) for each import; name is None for `import module`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (("." * node.level + (node.module or ""), alias.name) for alias in node.names)


IMPORTS = {file: list(imports_of(tree)) for file, tree in TREES.items()}


def module_of(file):
    return ".".join(("sktl", *Path(file).with_suffix("").parts)).removesuffix(".__init__")


def room_of(module):
    """Return the folder, or the file at the top of the package, that a module belongs to."""
    return ".".join(module.split(".")[:2])


MODULES = {module_of(file): file for file in FILES}


def imported_by(file):
    """Yield the modules of sktl that a file imports, inside of functions as well."""
    for module, name in IMPORTS[file]:
        if room_of(module) != "sktl" and module.startswith("sktl."):
            yield f"{module}.{name}" if f"{module}.{name}" in MODULES else module


GRAPH = {module: set(imported_by(file)) for module, file in MODULES.items()}


def rows():
    """Read the rows of rooms from setup.cfg, from the top down."""
    contract = configparser.ConfigParser()
    assert contract.read(PACKAGE.parent / "setup.cfg"), "the contract is in a checkout, not in an installed package"
    lines = contract["importlinter:contract:rooms"]["layers"].split("\n")
    return [[room.strip() for room in line.split("|")] for line in lines if line.strip()]


def test_imports_point_down_and_never_sideways():
    row_of = {room: number for number, row in enumerate(rows()) for room in row}
    offenders = {
        f"{module} imports {other}"
        for module, others in GRAPH.items()
        for other in others
        if room_of(module) in row_of and room_of(module) != room_of(other)
        if row_of[room_of(other)] <= row_of[room_of(module)]
    }
    assert offenders == set()


def test_every_room_has_a_row():
    rooms = {room_of(module) for module in MODULES} - {"sktl", "sktl.__main__"}
    assert {room for row in rows() for room in row} == rooms


def test_no_imports_run_in_a_circle():
    """Imports inside of functions count: they hide a circle from Python, and from nobody else."""
    sorter = TopologicalSorter({module: others - {module} for module, others in GRAPH.items()})
    circles = []
    try:
        sorter.prepare()
    except CycleError as error:
        circles = error.args[1]
    assert circles == []


def test_no_file_imports_a_private_file_of_another_room():
    offenders = {
        f"{module} imports {other}"
        for module, others in GRAPH.items()
        for other in others
        if room_of(module) != room_of(other) and other.count(".") > 1 and other.rpartition(".")[2].startswith("_")
    }
    assert offenders == set()


def test_imports_are_absolute_and_pass_by_the_root_and_the_own_folder():
    """Inside a folder a name comes from the file that defines it."""
    offenders = []
    for file, imports in IMPORTS.items():
        relative = {module for module, _ in imports if module.startswith(".")}
        doors = {"sktl", module_of(file).rpartition(".")[0]} if not file.endswith("__init__.py") else set()
        offenders += [f"{file} imports {module}" for module in relative | doors & {module for module, _ in imports}]
    assert offenders == []


def test_names_of_files_say_what_is_inside():
    empty = {"utils", "util", "helpers", "helper", "common", "base", "misc"}
    assert [file for file in FILES if Path(file).stem.strip("_") in empty] == []


def test_modules_stay_short():
    lengths = {file: len(text.splitlines()) for file, text in FILES.items()}
    assert {file for file, n_lines in lengths.items() if n_lines > MAX_LINES} == set()


def test_no_room_outgrows_the_others():
    sizes = Counter()
    for module, file in MODULES.items():
        sizes[room_of(module)] += len(FILES[file].splitlines())
    shares = {room: n_lines / sizes.total() for room, n_lines in sizes.items()}
    assert {room: share for room, share in shares.items() if share > MAX_SHARE_OF_A_ROOM} == {}


def test_functions_stay_short():
    """A constructor that only stores its parameters does not count."""
    offenders = []
    for file, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and not _only_stores(node):
                body = node.body[1:] if ast.get_docstring(node) else node.body
                n_lines = body[-1].end_lineno - body[0].lineno + 1 if body else 0
                if n_lines >= MAX_FUNCTION_LINES:
                    offenders.append(f"{file}: {node.name} has {n_lines} lines")
    assert offenders == []


def _only_stores(function):
    lines = [ast.unparse(statement) for statement in function.body]
    stores = [re.fullmatch(r"self\.(\w+) = \1", line) or line == "self._store(locals())" for line in lines]
    return function.name == "__init__" and all(stores)


def test_private_names_of_scikit_learn_have_one_door():
    offenders = [
        f"{file} imports {name} from {module}"
        for file, imports in IMPORTS.items()
        for module, name in imports
        if module.partition(".")[0] == "sklearn" and file != "_validation.py"
        if any(part.startswith("_") for part in [*module.split("."), name or ""])
    ]
    assert offenders == []


def test_skorch_is_imported_by_the_net_and_its_callbacks_alone():
    importers = {
        file for file, imports in IMPORTS.items() if any(module.partition(".")[0] == "skorch" for module, _ in imports)
    }
    assert importers == {"training/_loop_callbacks.py", "training/_net.py", "training/callbacks.py"}


def test_optional_packages_are_imported_by_the_call_that_needs_them():
    """matplotlib and pandas nowhere at the top of a file; typer and rich only inside the command line."""
    offenders = []
    for file, tree in TREES.items():
        outer = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        top = {module.partition(".")[0] for module, _ in imports_of(ast.Module(outer, []))}
        optional = {"dask", "fsspec", "huggingface_hub", "matplotlib", "pandas", "polars", "timm"}
        optional |= set() if file.startswith("cli/") else {"rich", "typer"}
        offenders += [f"{file} imports {name}" for name in top & optional]
    assert offenders == []


def test_classes_are_abstract_or_final():
    """Nothing of sktl is inherited from, but for abstract classes and errors."""
    offenders = []
    for file, tree in TREES.items():
        own = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
        imported = {name for module, name in IMPORTS[file] if module.startswith("sktl") and name and name[0].isupper()}
        final = imported - {
            *("FineTuneEstimator", "FrozenNetworkEstimator", "LabelEstimator", "NamedSource", "NetworkEstimator"),
            *("NetworkSource", "PageMixin", "ReadOnceMixin", "TrainingOption"),
        }
        if file != "exceptions.py":
            final |= {name for name, node in own.items() if not _is_abstract(node)}
        parents = [(name, ast.unparse(parent)) for name, node in own.items() for parent in node.bases]
        offenders += [f"{file}: {name} inherits from {parent}" for name, parent in parents if parent in final]
    assert offenders == []


def _is_abstract(node):
    methods = [child for child in node.body if isinstance(child, ast.FunctionDef)]
    return any("abstractmethod" in ast.unparse(decorator) for child in methods for decorator in child.decorator_list)
