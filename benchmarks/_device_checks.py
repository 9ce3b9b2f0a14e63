"""Does an accelerator give what the CPU gives in float32? One named check for each way that leads there; see gpu.py."""

import os
import subprocess
import sys
import tempfile
import traceback
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from unittest.mock import patch

import joblib
import numpy as np
import torch
from _measure import make_arrays, make_photos
from engines import load
from PIL import Image
from sklearn.datasets import load_digits

from sktl import FineTuneClassifier, FineTuneRegressor, PretrainedFeatureExtractor
from sktl.displays import class_activation_map
from sktl.inference import _blocks, _engines, resolve_placement, run_in_blocks
from sktl.models import load_model, save_model
from sktl.training import callbacks
from sktl.training._activations import FrozenPart

# Largest differences to float32 on the CPU that pass: of a vector, relative to its length, and of probabilities, in the
# mean. TF32, which must be off, would miss the first by a factor of ten.
VECTOR = {"float32": 5e-5, "bfloat16": 3e-2, "float16": 4e-3}
SAME_WEIGHTS, TRAINED, CHAOTIC, HALF, AGAIN = 1e-4, 1e-2, 5e-2, 5e-2, 1e-3
CHECKS = []
N_TRAIN, N_TEST = 100, 60


class SkippedError(Exception):
    """Why a check cannot be made on this machine."""


@dataclass
class Here:
    """What is checked: a device, and how much it can take."""

    device: torch.device
    is_small: bool
    is_pretended: bool = False
    references: dict = field(default_factory=dict, repr=False)

    @property
    def families(self):
        """Networks with random weights; convolutions, attention and squeezed vectors."""
        if self.is_small:
            return ("resnet18", "mobilenet_v3_small")
        return ("resnet18", "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny", "vit_b_16", "swin_t")

    def reference(self, name):
        """Return images, what a network is given besides them, and its vectors on the CPU; computed once."""
        if name not in self.references:
            size = 224 if name in ("vit_b_16", "swin_t") else 64 if self.is_small else 128
            images, options = make_arrays(6 if self.is_small else 40, size), {"image_size": size}
            options["backbone"] = load(name)[1]
            self.references[name] = images, options, self.vectors(images, device="cpu", **options)
        return self.references[name]

    @cached_property
    def digits(self):
        """Digits to learn from, their labels, and others to predict."""
        images, y = load_digits(return_X_y=True)
        images = images.reshape(-1, 8, 8)
        return images[:N_TRAIN], y[:N_TRAIN], images[N_TRAIN : N_TRAIN + N_TEST]

    def vectors(self, images, backbone="tiny_fractal", device=None, precision="float32", **options):
        """Embed images on the device, or on another one."""
        options = {"cache": False, **options}
        extractor = PretrainedFeatureExtractor(
            backbone, device=str(device or self.device), precision=precision, **options
        )
        return extractor.fit_transform(images)

    def fitted(self, *, device=None, precision="float32", kind=FineTuneClassifier, **options):
        """Train on digits, on the device or on another one."""
        X, y, _ = self.digits
        options = {"max_epochs": 3, "random_state": 0, "cache": False, "augment": None, **options}
        model = kind(device=str(device or self.device), precision=precision, value_range=(0, 16), **options)
        return model.fit(X, y)

    def need_cuda(self):
        """Skip what CUDA alone has."""
        if self.device.type != "cuda":
            raise SkippedError("CUDA alone has this")
        self.need_real()

    def need_real(self):
        """Skip what a pretended device cannot do."""
        if self.is_pretended:
            raise SkippedError("a pretended device cannot")


def check(name):
    """Register a check; it returns what it measured, raises AssertionError, or SkippedError."""

    def register(function):
        CHECKS.append((name, function))
        return function

    return register


def run_check(function, here):
    """Return result and figure of a check, and the end of the traceback where it failed."""
    try:
        return "pass", function(here) or "", ""
    except (SkippedError, ImportError) as reason:
        return "skip", str(reason), ""
    except Exception as error:
        text = " ".join(str(error).split())
        return "FAIL", f"{type(error).__name__}: {text[:150]}", traceback.format_exc(limit=-6)


def within(found, expected, limit, *, mean=False):
    """Hold numbers against others, row by row relative to their lengths, or in the mean."""
    found, expected = (np.asarray(each, dtype=np.float64) for each in (found, expected))
    assert found.shape == expected.shape, f"shapes {found.shape} and {expected.shape}"
    assert np.isfinite(found).all(), "numbers that are not finite"
    if mean:
        distance = float(abs(found - expected).mean())
    else:
        lengths = np.linalg.norm(expected.reshape(len(expected), -1), axis=1)
        distance = float((np.linalg.norm((found - expected).reshape(len(expected), -1), axis=1) / lengths).max())
    assert distance <= limit, f"{distance:.1e} is more than {limit:.0e}"
    return f"{distance:.1e}, up to {limit:.0e}"


def equal(found, expected):
    """Hold bits against bits."""
    different = int((np.asarray(found) != np.asarray(expected)).sum())
    assert different == 0, f"{different} of {np.size(expected)} numbers differ"
    return "same bits"


def same(found, expected):
    """Hold the same computation against itself: no accelerator promises bits, and a race gives more than a last bit."""
    return "same bits" if np.array_equal(found, expected) else within(found, expected, AGAIN)


# placement


@check("'auto', 'cuda' and an index mean the same device")
def names_of_the_device(here):
    if here.device.type != "cuda":
        raise SkippedError("CUDA alone has this")
    own = torch.device("cuda", torch.cuda.current_device())
    assert resolve_placement("auto").device == resolve_placement("cuda").device == own
    assert resolve_placement("cuda:0").device == torch.device("cuda:0")
    is_new = torch.cuda.get_device_capability(own) >= (8, 0)
    assert resolve_placement("cuda").dtype is (torch.bfloat16 if is_new else torch.float32)
    return str(own)


@check("a second device")
def second_device(here):
    here.need_cuda()
    if torch.cuda.device_count() < 2:
        raise SkippedError("one device")
    images = make_arrays(40, 64)
    found = here.vectors(images, device="cuda:1")
    return within(found, here.vectors(images, device="cpu"), VECTOR["float32"])


@check("a default device of the user's")
def default_device(here):
    images = make_arrays(8, 48)
    expected = here.vectors(images)
    torch.set_default_device(here.device)
    try:
        return same(here.vectors(images), expected)
    finally:
        torch.set_default_device(None)


# vectors


def _families(here, precision):
    worst: dict = {}
    for name in here.families:
        images, options, expected = here.reference(name)
        try:
            worst[name] = within(here.vectors(images, precision=precision, **options), expected, VECTOR[precision])
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from error
    name = max(worst, key=lambda each: float(worst[each].split(",")[0]))
    return f"{worst[name]} ({name})"


@check("vectors in float32")
def vectors_float32(here):
    return _families(here, "float32")


@check("vectors in bfloat16")
def vectors_bfloat16(here):
    return _families(here, "bfloat16")


@check("vectors in float16")
def vectors_float16(here):
    return _families(here, "float16")


@check("float32 stays float32 where the user allows TF32")
def tf32(here):
    images = make_arrays(8, 48)
    expected = here.vectors(images)
    own = torch.backends.cudnn.conv
    before, own.fp32_precision = own.fp32_precision, "tf32"
    try:
        found = same(here.vectors(images), expected)
        assert own.fp32_precision == "tf32", "the user's setting is gone"
        return found
    finally:
        own.fp32_precision = before


@check("all layers, all stages in channels-last")
def all_layers(here):
    _, backbone = load("resnet18")
    images, options = make_arrays(8, 64), {"layer": "all", "pooling": "avg+std", "image_size": 64}
    found = within(
        here.vectors(images, backbone, **options), here.vectors(images, backbone, "cpu", **options), VECTOR["float32"]
    )
    for key, stages in _engines._chains[backbone].items():
        if key[0] == here.device:
            for tensor in torch.nn.ModuleList(stages).parameters():
                assert tensor.device == here.device
                assert tensor.ndim != 4 or tensor.is_contiguous(memory_format=torch.channels_last), tensor.shape
    return found


@check("blocks on several streams give what one gives")
def streams(here):
    images, rows = make_arrays(96, 48), 8
    one_by_one = [here.vectors(images[start : start + rows], batch_size=rows) for start in range(0, 96, rows)]
    calls = [here.vectors(images, batch_size=rows) for _ in range(3)]
    return same(np.stack(calls), np.stack([np.concatenate(one_by_one)] * 3))


@check("a stream of the user's")
def users_stream(here):
    here.need_cuda()
    images = make_arrays(32, 48)
    expected = here.vectors(images, batch_size=8)
    _engines._chains.clear()  # so that weights are moved on this stream
    with torch.cuda.stream(torch.cuda.Stream(here.device)):
        return same(here.vectors(images, batch_size=8), expected)


@check("copies by way of pinned memory")
def pinned(here):
    blocks = [torch.randint(256, (64, 3, 64, 64), dtype=torch.uint8) for _ in range(32)]
    moved = [_blocks._moved(block, here.device) for block in blocks]
    assert all(block.device == here.device for block in moved)
    return equal(torch.stack([block.cpu() for block in moved]), torch.stack(blocks))


@check("too little memory: blocks are halved")
def out_of_memory(here):
    if here.device.type != "cuda" or here.is_pretended:
        return _simulated_lack_of_memory(here)
    _, backbone = load("resnet18")
    images = make_arrays(1024, 224)
    options = {"backbone": backbone, "image_size": 224}
    expected = here.vectors(images, batch_size=32, **options)
    _blocks._rows_that_fit.clear()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(here.device).total_memory
    share = (torch.cuda.memory_reserved(here.device) + 2**30) / total
    torch.cuda.set_per_process_memory_fraction(min(share, 1.0), here.device)
    try:
        found = here.vectors(images, batch_size=1024, **options)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, here.device)
    fitting = min(_blocks._rows_that_fit.values(), default=1024)
    _blocks._rows_that_fit.clear()
    assert fitting < 1024, "the whole block went through: this does not show anything"
    return f"{fitting} of 1024 rows; {within(found, expected, VECTOR['float32'])}"


def _simulated_lack_of_memory(here):
    seen = []

    def function(block):
        seen.append(len(block))
        if len(block) > 4:
            raise torch.OutOfMemoryError("simulated")
        return block * 2

    batch = torch.arange(32.0)[:, None]
    found = run_in_blocks(function, batch, resolve_placement(here.device, "float32"), 16, key="simulated")
    del _blocks._rows_that_fit["simulated"]
    assert set(seen) == {16, 8, 4}, seen
    return f"simulated; {equal(found, batch * 2)}"


@check("the store keeps devices apart")
def store(here):
    images = make_arrays(40, 48)
    with tempfile.TemporaryDirectory() as folder:
        hits, vectors = [], []
        for device in ("cpu", here.device, here.device):
            extractor = PretrainedFeatureExtractor(device=str(device), precision="float32", cache=folder)
            vectors.append(extractor.fit_transform(images))
            hits.append(extractor.store_info_.n_hits)
    assert hits == [0, 40 * (here.device.type == "cpu"), 40], f"{hits} found"
    return equal(vectors[2], vectors[1])


@check("the same call twice: vectors")
def vectors_twice(here):
    images = make_arrays(64, 48)
    return same(here.vectors(images, precision="bfloat16"), here.vectors(images, precision="bfloat16"))


@check("ONNX Runtime on the device")
def onnx_runtime(here):
    try:
        import onnxruntime
    except ImportError:
        raise SkippedError("ONNX Runtime is not installed") from None
    if here.device.type == "cuda" and "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise SkippedError("this ONNX Runtime knows the CPU only")
    images = make_arrays(8, 48)
    return within(here.vectors(images, engine="onnxruntime"), here.vectors(images, device="cpu"), VECTOR["float32"])


@check("JPEG files decoded on the device (torchvision; no part of sktl)")
def nvjpeg(here):
    here.need_cuda()
    from torchvision.io import ImageReadMode, decode_jpeg

    with tempfile.TemporaryDirectory() as folder:
        paths = make_photos(folder, 8)
        files = [torch.frombuffer(bytearray(Path(path).read_bytes()), dtype=torch.uint8) for path in paths]
        found = decode_jpeg(files, mode=ImageReadMode.RGB, device=str(here.device))
        expected = [np.asarray(Image.open(path)) for path in paths]
    found = [picture.permute(1, 2, 0).cpu().numpy() for picture in found]
    return within(found, expected, 2.0, mean=True) + " levels of 255"


# training


def _probabilities(here, limit, precision="float32", **options):
    *_, X = here.digits
    expected = here.fitted(device="cpu", **options).predict_proba(X)
    found = here.fitted(precision=precision, **options).predict_proba(X)
    return within(found, expected, limit, mean=True)


@check("depth 0: the exact probe")
def depth_0(here):
    return _probabilities(here, 1e-3, unfreeze_depth=0)


@check("depth 1")
def depth_1(here):
    return _probabilities(here, TRAINED, unfreeze_depth=1)


@check("depth 1, views that are computed anew")
def depth_1_views(here):
    return _probabilities(here, TRAINED, unfreeze_depth=1, augment="light")


@check("all stages")
def all_stages(here):
    return _probabilities(here, CHAOTIC, unfreeze_depth="all")


@check("all stages from random weights")
def from_scratch(here):
    return _probabilities(here, CHAOTIC, unfreeze_depth="all", weights=None)


@check("depth 1 in bfloat16")
def depth_1_bfloat16(here):
    return _probabilities(here, HALF, "bfloat16", unfreeze_depth=1)


@check("all stages in bfloat16")
def all_stages_bfloat16(here):
    return _probabilities(here, 2 * HALF, "bfloat16", unfreeze_depth="all")


@check("a regressor")
def regressor(here):
    *_, X = here.digits
    expected, found = (here.fitted(device=each, kind=FineTuneRegressor).predict(X) for each in ("cpu", here.device))
    return within(found / 9, expected / 9, TRAINED, mean=True)


OPTIONS = {
    "mixup": {"mixup": 0.4},
    "CutMix": {"cutmix": 1.0, "unfreeze_depth": 2},
    "a hidden layer": {"head": (16,)},
    "class weights": {"class_weight": "balanced"},
    "early stopping": {"early_stopping": True},
    "mirrored prediction": {"test_time_augmentation": True},
    "moving average": {"callbacks": [callbacks.ExponentialMovingAverage(0.9)]},
    "L2-SP": {"callbacks": [callbacks.L2SP(0.1)]},
    "gradual unfreezing": {"callbacks": [callbacks.GradualUnfreezing((0, 1))], "unfreeze_depth": 2},
}


def _option(options):
    return lambda here: _probabilities(here, CHAOTIC, **options)


for _name, _options in OPTIONS.items():
    check(f"training with {_name}")(_option(_options))


@check("training with dropout, which draws on the device")
def dropout(here):
    here.need_real()
    X, y, _ = here.digits
    with torch.random.fork_rng([here.device] if here.device.type == "cuda" else []):
        before = [generator.get_state() for generator in _generators(here.device)]
        first = here.fitted(dropout=0.5, max_epochs=8)
        for state, generator in zip(before, _generators(here.device), strict=True):
            assert torch.equal(state, generator.get_state()), "the user's generator has moved on"
        torch.rand(3, device=here.device)
        second = here.fitted(dropout=0.5, max_epochs=8)
    assert first.score(X, y) > 0.5, f"accuracy {first.score(X, y):.2f} on what was learnt"
    return within(second.predict_proba(X), first.predict_proba(X), TRAINED, mean=True)


def _generators(device):
    return [torch.default_generator, *([torch.cuda.default_generators[device.index]] if device.type == "cuda" else [])]


@check("a teacher")
def teacher(here):
    return _probabilities(here, CHAOTIC, teacher=here.fitted(device="cpu", unfreeze_depth=0))


@check("the same call twice: training")
def training_twice(here):
    *_, X = here.digits
    first, second = (here.fitted(unfreeze_depth="all").predict_proba(X) for _ in range(2))
    return "same bits" if (first == second).all() else within(first, second, TRAINED, mean=True)


@check("prediction of a trained network on several streams")
def predict_on_streams(here):
    X, _, _ = here.digits
    model = here.fitted(precision="bfloat16", unfreeze_depth="all", batch_size=8)
    expected = model.predict_proba(X)
    return same(np.stack([model.predict_proba(X) for _ in range(5)]), np.stack([expected] * 5))


@check("activations are kept on the device, or beside it")
def activations_at_home(here):
    *_, X = here.digits
    homes, home = [], FrozenPart.home

    def noted(self, n_bytes):
        homes.append(home(self, n_bytes))
        return homes[-1]

    with patch.object(FrozenPart, "home", noted):
        there = here.fitted()
        assert homes[-1] == here.device, f"kept on {homes[-1]}"
        with patch("sktl.training._activations._SHARE_OF_DEVICE", 0.0):
            beside = here.fitted()
        assert homes[-1].type == "cpu", f"kept on {homes[-1]}"
    return within(there.predict_proba(X), beside.predict_proba(X), TRAINED, mean=True)


@check("CompileNetwork")
def compiled(here):
    if here.is_small:
        raise SkippedError("takes a minute on a CPU; tests/training has it")
    *_, X = here.digits
    model = here.fitted(callbacks=[callbacks.CompileNetwork()])
    return within(model.predict_proba(X), here.fitted().predict_proba(X), TRAINED, mean=True)


# what was fitted, elsewhere


@check("a fitted model is moved, goes on there, and comes back")
def moved(here):
    X, y, X_test = here.digits
    model = here.fitted()
    expected = model.predict_proba(X_test)
    found = within(model.set_params(device="cpu").predict_proba(X_test), expected, SAME_WEIGHTS, mean=True)
    model.partial_fit(X, y)
    model.set_params(device=str(here.device)).partial_fit(X, y)
    assert next(model.module_.parameters()).device == here.device
    assert np.isfinite(model.predict_proba(X_test)).all()
    assert model.__sktl_backbone__().stages is not None
    return found


_ELSEWHERE = """
import sys, warnings, joblib, numpy as np, torch
assert not torch.cuda.is_available()
warnings.simplefilter("ignore")  # skorch says that the device is gone
model = joblib.load(sys.argv[1]).set_params(device="auto")
X, y = joblib.load(sys.argv[2])
np.save(sys.argv[3], model.predict_proba(X))
model.partial_fit(X, np.resize(y, len(X)))
"""


@check("a pickle is read where there is no accelerator")
def pickled(here):
    here.need_real()
    _, y, X = here.digits
    model = here.fitted()
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / name) for name in ("model", "X", "found.npy")]
        joblib.dump(model, paths[0])
        joblib.dump((X, y), paths[1])
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
        subprocess.run([sys.executable, "-c", _ELSEWHERE, *paths], env=environment, check=True)
        return within(np.load(paths[2]), model.predict_proba(X), SAME_WEIGHTS, mean=True)


@check("a model file is read on either device")
def model_file(here):
    *_, X = here.digits
    model = here.fitted()
    expected = model.predict_proba(X)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_model(model, path)
        found = [load_model(path, device=each, precision="float32") for each in ("cpu", str(here.device))]
    return within(np.stack([each.predict_proba(X) for each in found]), [expected, expected], SAME_WEIGHTS, mean=True)


@check("a class activation map")
def activation_map(here):
    *_, X = here.digits
    model = here.fitted()
    found = class_activation_map(model, X[:4], target=[0, 1, 2, 3])
    expected = class_activation_map(model.set_params(device="cpu"), X[:4], target=[0, 1, 2, 3])
    return within(found, expected, 1e-3)


@check("two processes share the device")
def two_processes(here):
    here.need_cuda()
    images = make_arrays(40, 48)
    found = joblib.Parallel(n_jobs=2)([joblib.delayed(here.vectors)(images) for _ in range(2)])
    return same(np.stack(found), np.stack([here.vectors(images)] * 2))
