"""Training above the cut: with what the frozen part makes of each image kept, and with it computed in every epoch.

Run with ``python benchmarks/prefix.py [backbone …]``. The same estimator, the same steps, the same weights in the end;
only where the activations below the cut come from differs. "Plain torch" is the loop that one would write by hand: the
frozen part without gradients, then the rest. "From the store" is what every further fold, grid point or session takes.
At depth 0 the head is solved for exactly, without epochs. All roads take turns. With --folds whole cross-validations
are measured instead, from an empty store.
"""

import argparse
import os
import tempfile
from copy import deepcopy
from functools import partial
from unittest.mock import patch

import numpy as np
import torch
from _measure import header, in_turns, make_photos, print_table, seconds, spread
from sklearn.model_selection import StratifiedKFold, cross_val_score

from sktl import FineTuneClassifier
from sktl.backbones import load_backbone
from sktl.images import read_image
from sktl.training import _activations

N_IMAGES, EPOCHS, BATCH = 64, 10, 32


def in_every_epoch():
    """Let nothing be kept in memory."""
    defaults = {**_activations.Activations.__init__.__kwdefaults__, "memory": 0}
    return patch.object(_activations.Activations.__init__, "__kwdefaults__", defaults)


def plain_loop(backbone, paths, y, depth):
    """Freeze, read, normalise, train: by hand."""
    stages, head = deepcopy(backbone.stages), torch.nn.Linear(backbone.n_features, 2)
    cut = len(stages) - depth
    frozen, trained = stages[:cut].eval(), stages[cut:].eval().requires_grad_(True)
    optimizer = torch.optim.AdamW([*trained.parameters(), *head.parameters()], lr=1e-4)
    targets = torch.as_tensor(y)
    for _ in range(EPOCHS):
        for part in torch.randperm(len(paths)).split(BATCH):
            batch = torch.stack([torch.from_numpy(backbone.preprocessing.prepare(read_image(paths[i]))) for i in part])
            with torch.no_grad():
                activations = frozen(backbone.preprocessing.normalize(batch))
            features = trained(activations)
            loss = torch.nn.functional.cross_entropy(head(features.mean((2, 3))), targets[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def main():
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("backbones", nargs="*", default=["resnet18", "mobilenet_v2"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--depths", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--folds", type=int, help="folds of a cross-validation, in place of single fits")
    options = parser.parse_args()
    print(header(f"{N_IMAGES} JPEG photos, {EPOCHS} epochs, batches of {BATCH}, {options.rounds} rounds"), "\n")
    rows = []
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, {"SKTL_CACHE_DIR": f"{folder}/store"}):
        paths = make_photos(folder, N_IMAGES)
        y = [i % 2 for i in range(N_IMAGES)]
        for name in options.backbones:
            backbone = load_backbone(name, None, random_state=0)
            for depth in options.depths:
                model = partial(
                    FineTuneClassifier,
                    backbone,
                    unfreeze_depth=depth,
                    augment=None,
                    max_epochs=EPOCHS,
                    batch_size=BATCH,
                    random_state=0,
                )
                loop = partial(plain_loop, backbone, depth=depth)
                if options.folds:
                    roads = cross_validations(model, loop, paths, y, options.folds)
                else:
                    roads = single_fits(model, loop, paths, y, depth)
                rows += measure(roads, backbone.name, depth, options.rounds)
    first = next(iter(roads))
    print_table(["backbone", "depth", "road", "seconds, median (least to greatest)", f"against {first!r}"], rows)


def single_fits(model, loop, paths, y, depth):
    """Return the roads to one fitted network."""

    def recomputing():
        # At depth 0 a hidden layer keeps the exact solution away: epochs are what is measured.
        head = [8] if depth == 0 else "linear"
        with in_every_epoch():
            model(cache=False, head=head).fit(paths, y)

    model(cache=True).fit(paths, y)  # fills the store
    return {
        "sktl, kept": lambda: seconds(lambda: model(cache=False).fit(paths, y)),
        "sktl, from the store": lambda: seconds(lambda: model(cache=True).fit(paths, y)),
        "sktl, in every epoch": lambda: seconds(recomputing),
        "plain torch": lambda: seconds(lambda: loop(paths, y)),
    }


def cross_validations(model, loop, paths, y, n_folds):
    """Return the roads to the scores of all folds; the loop by hand trains, and does not even test."""
    paths, y = np.array(paths), np.array(y)

    def ours():
        with tempfile.TemporaryDirectory() as store:
            cross_val_score(model(cache=store), paths, y, cv=n_folds)

    def by_hand():
        for train, _ in StratifiedKFold(n_folds).split(paths, y):
            loop(paths[train], y[train])

    return {"sktl, empty store": lambda: seconds(ours), "plain torch": lambda: seconds(by_hand)}


def measure(roads, name, depth, n_rounds):
    """Return the rows of one backbone and depth."""
    found = in_turns(roads, n_rounds)
    first = next(iter(found.values()))
    return [
        (
            name,
            str(depth),
            road,
            spread(times, ".2f"),
            spread([t / k for t, k in zip(times, first, strict=True)], ".2f"),
        )
        for road, times in found.items()
    ]


if __name__ == "__main__":
    main()
