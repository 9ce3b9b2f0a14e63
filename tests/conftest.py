"""Fixtures that every test file may use, and the conditions under which numbers are compared."""

import faulthandler
import gc
import importlib.util
import itertools
import os
import signal
import socket
import subprocess
import sys

# scikit-learn skips its array API checks unless this is set before scipy is imported.
os.environ["SCIPY_ARRAY_API"] = "1"
# Bit-equality is promised at one number of threads; torch and numpy read it when they are imported.
os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1")
os.environ.setdefault("MPLBACKEND", "agg")

from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

# A comparison made of known numbers, for what is drawn and written from it.
CLASSES = 3
NETWORK = {
    "name": "tiny_fractal",
    "weights": "embedded",
    "source": "fractals",
    "license": "BSD-3-Clause",
    "digest": "0123456789abcdef" * 4,
    "image_size": 48,
}
SCORES = {
    "dummy": [0.3, 0.3, 0.4],
    "frozen": [0.9, 0.8, 0.85],
    "fine_tuned": [0.92, 0.9, 0.88],
    "from_scratch": [0.6, 0.62, 0.55],
}
COSTS = {  # fit seconds, parameters kept, images through the network
    "dummy": (0.001, None, None),
    "frozen": (0.5, 600_000, 10),
    "fine_tuned": (5.0, 700_000, 200),
    "from_scratch": (20.0, 700_000, 800),
}


# Collecting the tests makes millions of objects that stay: looking through them again and again takes a quarter of it.
gc.disable()


def pytest_collection_finish():
    """Leave what torch and the tests consist of out of every garbage collection to come: millions of objects."""
    gc.collect()
    gc.freeze()
    gc.enable()


def history(n_epochs, start):
    return [
        {"epoch": epoch, "train_loss": start / epoch, "valid_loss": 1.5 * start / epoch}
        for epoch in range(1, n_epochs + 1)
    ]


@pytest.fixture(params=["pipe", "socket", "device"])
def special_file(request, tmp_path, monkeypatch):
    """Something that has a path and no content of a length, and may wait for ever."""
    if os.name != "posix":
        pytest.skip("no such files on this system")
    path = tmp_path / request.param
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "device":
        path.symlink_to("/dev/zero")
    else:
        monkeypatch.chdir(tmp_path)  # the path of a socket is short
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(path.name)
    return path


@pytest.fixture(scope="session")
def shared_data():
    """Folder of real photos and real weights; its tests are skipped where it is absent."""
    default = Path(__file__).parents[2] / "shared" / "data"
    path = Path(os.environ.get("SKTL_SHARED_DATA", default))
    if not path.is_dir():
        pytest.skip("the folder of real photos and weights (SKTL_SHARED_DATA) is not here")
    return path


@pytest.fixture(scope="session")
def stores(tmp_path_factory):
    """Yield folders; pytest's own maker looks at all former ones for each new one."""
    root = tmp_path_factory.mktemp("stores")
    return (root / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def fresh_store(stores, monkeypatch):
    """Give each test an embedding store of its own: what one test has computed, no other one finds."""
    folder = next(stores)
    folder.mkdir()
    monkeypatch.setenv("SKTL_CACHE_DIR", str(folder))
    for name in ("SKTL_CACHE_SIZE", "SKTL_CACHE_SEGMENTS"):
        monkeypatch.delenv(name, raising=False)
    return folder


@pytest.fixture(scope="session")
def make_cluster():
    """A context that has a worker process on this machine for each environment that it is given."""
    distributed = pytest.importorskip("distributed")
    options = {"nthreads": 1, "silence_logs": 50, "host": "127.0.0.1", "dashboard_address": None}
    # Any free port: its own, 8787, belongs to one scheduler of a machine, and the others warn of it.
    scheduler_options = {"host": "127.0.0.1", "port": 0, "dashboard": False, "dashboard_address": "127.0.0.1:0"}

    @contextmanager
    def make(*environments):
        workers = {
            number: {"cls": distributed.Nanny, "options": options | {"env": environment}}
            for number, environment in enumerate(environments)
        }
        scheduler = {"cls": distributed.Scheduler, "options": scheduler_options}
        with pytest.MonkeyPatch.context() as patch:
            for name in ("SKTL_CACHE_DIR", "SKTL_CACHE_SIZE", "SKTL_CACHE_SEGMENTS"):
                patch.delenv(name, raising=False)  # workers start with the environment of this process
            cluster = distributed.SpecCluster(workers, scheduler=scheduler, silence_logs=50)
        try:
            yield cluster
        finally:
            with suppress(TimeoutError):  # one that was killed may be about to start again
                cluster.close(timeout=30)

    return make


@pytest.fixture
def time_limit():
    """End a test of other processes after a quarter of an hour, wherever it waits, and show where that is."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def stop(*_):
        faulthandler.dump_traceback()
        raise TimeoutError("a test of other processes must end within a quarter of an hour")

    former = signal.signal(signal.SIGALRM, stop)
    signal.alarm(900)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, former)


@pytest.fixture(scope="module")
def script(request):
    """The functions that other processes run, of the file SCRIPT of the test module, to be called in this one."""
    spec = importlib.util.spec_from_file_location(request.module.SCRIPT.stem, request.module.SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def start(request):
    """Start a process that runs one of the functions of SCRIPT; warnings are errors there."""
    processes = []

    def start(what, *arguments, **options):
        command = [sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", str(request.module.SCRIPT), what]
        process = subprocess.Popen(
            [*command, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def finish():
    """Wait for such a process; return what it has printed."""

    def finish(process, timeout=120):
        out, errors = process.communicate(timeout=timeout)
        assert process.returncode == 0, errors
        return out.removeprefix("ready\n").strip()

    return finish


@pytest.fixture(autouse=True)
def close_figures():
    """Close what a test has drawn, where it has drawn anything."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="session")
def make_comparison():
    """A maker of comparisons: 30 images of three classes, each tested once in three splits."""
    from sktl.comparison import FitRecord, TransferComparison

    def make(names=tuple(SCORES), *, y=None, task="classification", wrong=None, **settings):
        rng = np.random.default_rng(0)
        y = np.arange(30) % CLASSES if y is None else np.asarray(y)
        folds = rng.permutation(30).reshape(3, 10)
        splits = tuple((np.setdiff1d(np.arange(30), fold), np.sort(fold)) for fold in folds)
        runs = []
        for name in names:
            seconds, kept, passes = COSTS.get(name, (1.0, None, None))
            for split, (_, test) in enumerate(splits):
                labels = y[test].tolist()
                sure = rng.uniform(0.4, 0.9, len(test)).tolist()
                for place, index in enumerate(test.tolist()):
                    if index in (wrong or {}).get(name, {}):
                        labels[place], sure[place] = wrong[name][index]
                trained = name in ("fine_tuned", "from_scratch")
                runs.append(
                    FitRecord(
                        name,
                        split,
                        {"accuracy": SCORES.get(name, [0.5, 0.52, 0.51])[split]},
                        fit_seconds=seconds * (1 + split / 10),
                        predict_seconds=0.1,
                        n_trained_parameters=kept if trained else None,
                        n_parameters=kept,
                        n_images_through_network=passes,
                        peak_memory=2**20 * (100 + split),
                        predicted=labels,
                        confidence=sure,
                        history=history(4 + split, 2.0) if trained else None,
                        network=None if kept is None else NETWORK,
                    )
                )
        return TransferComparison(
            runs=tuple(runs),
            splits=splits,
            y=y,
            seeds=(11, 12, 13),
            baseline="from_scratch" if "from_scratch" in names else names[-1],
            scoring="accuracy",
            rope=0.01,
            transfer={name: name in ("frozen", "fine_tuned") for name in names},
            settings={"task": task, "cv": "3", "n_repeats": 1, "random_state": 0, "n_images": 30, **settings},
        )

    return make


@pytest.fixture(scope="session")
def make_ranking():
    """A maker of rankings with known scores: 100 images of two classes, five folds, and three controls unless told."""
    from dataclasses import replace

    from sktl.comparison import FitRecord, TransferComparison
    from sktl.transferability import BackboneRanking
    from sktl.transferability._leading_group import best_of
    from sktl.transferability._measuring import NetworkMeasures

    controls = {"dummy": 0.5, "pixels": 0.6, "frozen_random": 0.65}

    def make(networks, *, controls=controls, tuned=(), seed=0, **fields):
        """`networks` has a share of right answers and the seconds of an image for each name."""
        rng = np.random.default_rng(seed)
        y = np.arange(100) % 2
        folds = rng.permutation(100).reshape(5, 20)
        shares = {**controls, **{name: share for name, (share, _) in networks.items()}, **dict(tuned)}
        runs = []
        for name, share in shares.items():
            right = rng.permutation(np.arange(100) < round(100 * share))
            known = {**NETWORK, "name": name} if name not in ("dummy", "pixels") else None
            for split, fold in enumerate(folds):
                predicted = np.where(right, y, 1 - y)[fold].tolist()
                costs = {"fit_seconds": 0.5, "predict_seconds": 0.1, "n_parameters": known and 600_000}
                scores = {"accuracy": float(right[fold].mean())}
                runs.append(FitRecord(name, split, scores, **costs, predicted=predicted, network=known))
        comparison = TransferComparison(
            runs=tuple(runs),
            splits=tuple((np.setdiff1d(np.arange(100), fold), fold) for fold in folds),
            y=y,
            seeds=(1, 2, 3, 4, 5),
            baseline="dummy",
            scoring="accuracy",
            rope=0.01,
            transfer={name: name in networks for name in shares},
            settings={"task": "classification", "cv": "5", "n_repeats": 1, "n_images": 100, "control": "tiny_fractal"},
        )
        comparison = replace(comparison, baseline=best_of(comparison, networks))
        measures = {name: NetworkMeasures(seconds, 0.7, -0.6, 75.1) for name, (_, seconds) in networks.items()}
        empty = {"corrected": None, "finalists": {}, "left_out": {}}
        return BackboneRanking(comparison, measures, **{**empty, **fields})

    return make


@pytest.fixture(scope="session")
def pictures():
    """Thirty pictures in colour, no two alike."""
    return np.random.default_rng(1).integers(0, 256, (30, 20, 24, 3), dtype=np.uint8)


@pytest.fixture
def picture_files(pictures, tmp_path):
    """The same pictures as files, in order."""
    from PIL import Image

    paths = [str(tmp_path / f"{number:02}.png") for number in range(len(pictures))]
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(picture).save(path)
    return paths


def make_patterns(n_images, n_classes=2, size=16, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n_images) % n_classes
    X = rng.integers(0, 60, (n_images, size, size, 3))
    for image, label in zip(X, y, strict=True):
        stripe = image[:, :: 2 + label] if label else image[::2]
        stripe += 150
    return X.astype(np.uint8), y


@pytest.fixture
def patterns():
    return make_patterns(24)


@pytest.fixture
def three_patterns():
    return make_patterns(30, n_classes=3)


@pytest.fixture
def passes(monkeypatch):
    """How many images went through a frozen network, and through which of its stages."""
    from sktl.inference import _embed

    counted = []

    def counting(backbone, cuts, *args, **kwargs):
        function = make(backbone, cuts, *args, **kwargs)

        def counted_function(batch):
            counted.append(cuts)
            return function(batch)

        return counted_function

    make = _embed.frozen_function
    monkeypatch.setattr(_embed, "frozen_function", counting)
    return counted


def run_sktl(*arguments):
    """Run the command in this process."""
    from typer.testing import CliRunner

    from sktl.cli._app import app

    return CliRunner().invoke(app, [os.fspath(argument) for argument in arguments])


@pytest.fixture(name="run_sktl", scope="session")
def command():
    return run_sktl


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Twenty pictures in photos/ants and photos/bees; not to be changed."""
    from PIL import Image

    from sktl.datasets import make_fractals

    root = tmp_path_factory.mktemp("pictures") / "photos"
    images, target = make_fractals(20, n_classes=2, random_state=0)
    for i, (image, label) in enumerate(zip(images, target, strict=True)):
        folder = root / ("ants", "bees")[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{i:02}.png")
    return root


TRAINING_OPTIONS = ("--max-epochs", "2", "--unfreeze-depth", "2", "--seed", "3", "--quiet")


@pytest.fixture(scope="session")
def models(photos, tmp_path_factory):
    """Method → model file."""
    folder = tmp_path_factory.mktemp("models")
    files = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SKTL_CACHE_DIR", str(tmp_path_factory.mktemp("store of the models")))
        for method, options in (("fine_tuned", TRAINING_OPTIONS), ("frozen", ("--seed", "3", "--quiet"))):
            files[method] = folder / f"{method}.safetensors"
            result = run_sktl("train", photos, "-o", files[method], "--method", method, *options)
            assert result.exit_code == 0, result.output
    return files
