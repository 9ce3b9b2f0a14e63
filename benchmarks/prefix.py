"""Training above the cut: with what the frozen part makes of each image kept, and with it computed in every epoch.

Run with ``python benchmarks/prefix.py [backbone …]``. The same estimator, the same steps, the same weights in the end;
only where the activations below the cut come from differs. "Plain torch" is the loop that one would write by hand: the
frozen part without gradients, then the rest. "From the store" is what every further fold, grid point or session takes.
At depth 0 the head is solved for exactly, without epochs. All roads take turns.
"""

import argparse
import os
import tempfile
from copy import deepcopy
from unittest.mock import patch

import torch
from _measure import header, in_turns, make_photos, print_table, seconds, spread

from sktl import FineTuneClassifier
from sktl.backbones import load_backbone
from sktl.fine_tuning import _prefix
from sktl.images import read_image

N_IMAGES, EPOCHS, BATCH = 64, 10, 32


def in_every_epoch():
    """Let nothing be kept in memory."""
    defaults = {**_prefix.Activations.__init__.__kwdefaults__, "memory": 0}
    return patch.object(_prefix.Activations.__init__, "__kwdefaults__", defaults)


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
    options = parser.parse_args()
    print(header(f"{N_IMAGES} JPEG photos, {EPOCHS} epochs, batches of {BATCH}, {options.rounds} rounds"), "\n")
    rows = []
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, {"SKTL_CACHE_DIR": f"{folder}/store"}):
        paths = make_photos(folder, N_IMAGES)
        y = [i % 2 for i in range(N_IMAGES)]
        for name in options.backbones:
            backbone = load_backbone(name, None, random_state=0)
            for depth in options.depths:
                rows += measure(backbone, paths, y, depth, options.rounds)
    print_table(["backbone", "depth", "road", "seconds, median (least to greatest)", "against kept"], rows)


def measure(backbone, paths, y, depth, n_rounds):
    """Return the rows of one backbone and depth."""

    def fit(cache=False):
        model = FineTuneClassifier(
            backbone, unfreeze_depth=depth, max_epochs=EPOCHS, batch_size=BATCH, cache=cache, random_state=0
        )
        return model.fit(paths, y)

    def fit_recomputing():
        # At depth 0 a hidden layer keeps the exact solution away: epochs are what is measured.
        head = [8] if depth == 0 else "linear"
        with in_every_epoch():
            FineTuneClassifier(
                backbone, unfreeze_depth=depth, max_epochs=EPOCHS, batch_size=BATCH, cache=False, head=head
            ).fit(paths, y)

    fit(cache=True)  # fills the store
    roads = {
        "sktl, kept": lambda: seconds(fit),
        "sktl, from the store": lambda: seconds(lambda: fit(cache=True)),
        "sktl, in every epoch": lambda: seconds(fit_recomputing),
        "plain torch": lambda: seconds(lambda: plain_loop(backbone, paths, y, depth)),
    }
    found = in_turns(roads, n_rounds)
    kept = found["sktl, kept"]
    return [
        (
            backbone.name,
            str(depth),
            road,
            spread(times, ".2f"),
            spread([t / k for t, k in zip(times, kept, strict=True)], ".2f"),
        )
        for road, times in found.items()
    ]


if __name__ == "__main__":
    main()
