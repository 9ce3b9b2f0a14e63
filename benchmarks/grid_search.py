"""What a grid search over a pipeline costs: sktl's store beside everything else one could do about it.

Run with ``python benchmarks/grid_search.py [--arrays]``: GridSearchCV with 5 folds and 8 values of C over extractor,
StandardScaler and LogisticRegression, on distinct photos and a network of random weights. The floor is one pass over
the images and the same search over the vectors. Roads that embed the images again and again are run on fewer images and
once; the ratio compares with the floor for the same number of images. Images computed are counted where they enter the
network, in all processes together.
"""

import argparse
import itertools
import tempfile
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

import joblib
import numpy as np
from _measure import (
    CountedExtractor,
    header,
    in_turns,
    log_images,
    log_images_to,
    logged_images,
    make_arrays,
    make_photos,
    print_table,
    seconds,
    spread,
)
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

N_FOLDS, VALUES_OF_C = 5, np.logspace(-3, 3, 8)
FLOOR = "floor: one pass, then the search over vectors"


def search(steps, X, n_jobs=1, memory=None):
    """Run the grid search, with two classes that mean nothing."""
    model = make_pipeline(*steps, StandardScaler(), LogisticRegression(max_iter=1000), memory=memory)
    y = np.arange(len(X)) % 2
    GridSearchCV(model, {"logisticregression__C": VALUES_OF_C}, cv=N_FOLDS, n_jobs=n_jobs).fit(X, y)


def measured(function):
    """Return seconds, and images computed by all processes."""
    before = logged_images()
    return seconds(function), logged_images() - before


def extractor(backbone, cache):
    """Return the extractor that all roads of sktl have in common."""
    return CountedExtractor(backbone, weights=None, random_state=0, device="cpu", cache=cache)


def floor(backbone, X):
    """Embed once, search over the vectors."""
    search([], extractor(backbone, False).fit_transform(X))


def with_store(backbone, X, store, n_jobs=1):
    """Search over the pipeline with a store, and leave no worker behind that would start faster the next time."""
    search([extractor(backbone, store)], X, n_jobs=n_jobs)
    joblib.externals.loky.get_reusable_executor().shutdown(wait=True)


def in_another_process(backbone, X, store, log):
    """Search with a store that a process before has filled; the time of starting Python is not part of it."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_warm, (backbone, X, store, log))


def _warm(backbone, X, store, log):
    log_images_to(log)
    return measured(lambda: with_store(backbone, X, store))


def with_memory(backbone, X, folder):
    """Search with scikit-learn's own remedy and no store."""
    search([extractor(backbone, False)], X, memory=joblib.Memory(folder, verbose=0))


def with_embetter(backbone, X):
    """Search over embetter's pipeline."""
    import timm
    from embetter.vision import ImageLoader, TimmEncoder

    create = timm.create_model

    # embetter always asks for pretrained weights, which would have to be downloaded; random ones take no longer.
    def create_and_count(name, **options):
        model = create(name, **(options | {"pretrained": False}))
        model.register_forward_hook(lambda module, inputs, output: log_images(len(inputs[0])))
        return model

    loader = ImageLoader() if isinstance(X, list) else FunctionTransformer(_as_pictures)
    with patch.object(timm, "create_model", create_and_count):
        search([loader, TimmEncoder(backbone)], X)


def _as_pictures(arrays):
    return [Image.fromarray(array) for array in arrays]


def compare_stores(backbone, X, folder, n_rounds):
    """Return what the roads that embed each image once return, round by round."""
    numbers = itertools.count()
    filled = []

    def fresh():
        filled.append(folder / f"store-{next(numbers)}")
        return filled[-1]

    return in_turns(
        {
            FLOOR: lambda: measured(lambda: floor(backbone, X)),
            "sktl, fresh store": lambda: measured(lambda: with_store(backbone, X, fresh())),
            "sktl, fresh store, n_jobs=2": lambda: measured(lambda: with_store(backbone, X, fresh(), n_jobs=2)),
            "sktl, the same again in a second process": lambda: in_another_process(
                backbone, X, filled[-1] if filled else fill(backbone, X, fresh()), folder / "log"
            ),
        },
        n_rounds,
    )


def fill(backbone, X, store):
    """Fill a store for a round that begins with the second process."""
    with_store(backbone, X, store)
    return store


def compare_repeaters(backbone, X, folder):
    """Return what the roads that embed images again and again return, run once."""
    roads = {
        FLOOR: partial(floor, backbone, X),
        "sktl, cache=False, Pipeline(memory=...)": partial(with_memory, backbone, X, folder / "memory"),
        "sktl, cache=False": partial(search, [extractor(backbone, False)], X),
        "embetter": partial(with_embetter, backbone, X),
    }
    outcome = {}
    for road, run in roads.items():
        try:
            outcome[road] = [measured(run)]
        except ImportError:
            outcome[road] = None
    return outcome


def make_rows(outcome, n_images):
    """Return the rows of the table for one number of images."""
    rows = []
    for road, rounds in outcome.items():
        if rounds is None:
            rows.append([road, str(n_images), "not installed", "", ""])
            continue
        times, counts = zip(*rounds, strict=True)
        ratios = [one / least for one, (least, _) in zip(times, outcome[FLOOR], strict=True)]
        rows.append([road, str(n_images), spread(times), spread(ratios, ".2f"), spread(counts, ".0f")])
    return rows


def main():
    """Print one markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--few", type=int, default=24, help="images for the roads that embed them again and again")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--arrays", action="store_true", help="bytes of 224 x 224 pixels instead of JPEG files")
    options = parser.parse_args()
    kind = "arrays of 224 x 224 x 3 bytes" if options.arrays else "JPEG photos of 500 x 375 pixels"
    folds = f"{N_FOLDS} folds x {len(VALUES_OF_C)} values of C"
    print(
        header(
            f"{options.backbone}, {kind}, {folds}, {options.rounds} rounds, once on {options.few} images",
            peers=["scikit-learn", "joblib", "timm", "embetter"],
        )
    )
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        log_images_to(folder / "log")
        X = make_arrays(options.images) if options.arrays else make_photos(folder, options.images)
        extractor(options.backbone, False).fit(X[:1]).transform(X[:8])
        rows = make_rows(compare_stores(options.backbone, X, folder, options.rounds), options.images)
        rows += make_rows(compare_repeaters(options.backbone, X[: options.few], folder), options.few)
    columns = ["road", "images", "seconds, median (least to greatest)", "against the floor", "images computed"]
    print_table(columns, rows)


if __name__ == "__main__":
    main()
