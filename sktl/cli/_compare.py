"""The command ``sktl compare``: was transfer worth it on this folder of images."""

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from sktl.cli._reporting import errors_as_messages, print_comparison, say

__all__ = ["compare"]

DEFAULT_PLOT = Path("comparison.png")


def _number_or_word(word):
    def parse(text):
        if text == word or text.isdecimal():
            return text if text == word else int(text)
        raise typer.BadParameter(f"must be a whole number or {word!r}. Got {text!r} instead.")

    return parse


def compare(
    folder: Annotated[Path | None, typer.Argument(help="A folder that holds one folder of images per class.")] = None,
    digits: Annotated[bool, typer.Option("--digits", help="Use the digits that ship inside scikit-learn.")] = False,
    n_labels: Annotated[int, typer.Option(min=10, help="With --digits: how many labelled images.")] = 100,
    backbone: Annotated[str, typer.Option(help="Name of the pretrained network.")] = "tiny_fractal",
    weights: Annotated[str, typer.Option(help="Its pretrained weights: a name or a file.")] = "default",
    image_size: Annotated[int | None, typer.Option(min=1, help="Side length in pixels to bring images to.")] = None,
    cv: Annotated[int, typer.Option(min=2, help="Number of folds.")] = 5,
    repeats: Annotated[int, typer.Option(min=1, help="How many times the folds are drawn anew.")] = 1,
    unfreeze_depth: Annotated[
        str, typer.Option(help="Top stages to fine-tune: a number or 'all'.", callback=_number_or_word("all"))
    ] = "1",
    max_epochs: Annotated[
        str, typer.Option(help="Training budget: a number or 'auto'.", callback=_number_or_word("auto"))
    ] = "auto",
    max_images: Annotated[
        int | None, typer.Option(min=2, help="Use at most so many images, in the same shares of classes.")
    ] = None,
    device: Annotated[str, typer.Option(help="Where to compute: auto, cpu, cuda, mps.")] = "auto",
    n_jobs: Annotated[int, typer.Option(help="Fits run at once; -1 is one per core.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Seed of folds and training.")] = 0,
    plot: Annotated[
        Path | None, typer.Option(help=f"Where to write the figure: {DEFAULT_PLOT} unless told, none with --json.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Where to write the scores of all fits.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else there.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose/--quiet", help="Print one line per fit, on stderr.")] = True,
):
    """Compare transfer learning with training from scratch, on the same folds of your images.

    Prints a verdict and a table, and draws a figure.
    """
    if (folder is None) != digits:
        raise typer.BadParameter("give either FOLDER or --digits.", param_hint="FOLDER")
    plot = plot or (None if as_json else DEFAULT_PLOT)
    with errors_as_messages():
        _check_writable(plot, csv)
        from sktl.comparison import compare_transfer

        X, y, options = _load_digits(n_labels, seed) if digits else _load_folder(folder, max_images, seed)
        options |= {"backbone": backbone, "weights": weights, "image_size": image_size, "device": device}
        options |= {"unfreeze_depth": unfreeze_depth, "max_epochs": max_epochs}
        with redirect_stdout(sys.stderr):
            comparison = compare_transfer(
                X, y, cv=cv, n_repeats=repeats, n_jobs=n_jobs, random_state=seed, verbose=int(verbose), **options
            )
        if as_json:
            print(json.dumps(comparison.to_dict(), indent=2))
        else:
            print_comparison(comparison)
        _write(comparison, plot, csv)


def _check_writable(*paths):
    """Find out before the work, not after it, that its result has no place to go."""
    for path in paths:
        if path is not None and not path.absolute().parent.is_dir():
            raise ValueError(f"The folder to write {path} to must exist. Got {path.absolute().parent} instead.")


def _write(comparison, plot, csv):
    if csv is not None:
        comparison.frame().to_csv(csv, index=False)
        say(f"Wrote the scores of all fits to {csv}.")
    if plot is not None:
        comparison.plot().figure_.savefig(plot, dpi=150)
        say(f"Wrote the figure to {plot}.")


def _load_digits(n_labels, seed):
    from sklearn.datasets import load_digits

    images, y = load_digits().images, load_digits().target
    chosen = _subset(y, n_labels, seed)
    say(f"Comparing on {len(chosen)} labelled digits of scikit-learn's {len(y)}; the rest is not used.")
    return images[chosen], y[chosen], {"value_range": (0, 16)}


def _load_folder(folder, max_images, seed):
    from sktl.images import load_image_folder

    bunch = load_image_folder(folder)
    chosen = _subset(bunch.target, max_images, seed)
    say(f"Comparing on {len(chosen)} of {len(bunch.target)} images in {len(bunch.target_names)} classes.")
    return bunch.images[chosen], bunch.target[chosen], {}


def _subset(y, n_images, seed):
    """Positions of a random subset with the same shares of classes; all of them when there are no more than wanted."""
    import numpy as np
    from sklearn.model_selection import train_test_split

    if n_images is None or n_images >= len(y):
        return np.arange(len(y))
    chosen, _ = train_test_split(np.arange(len(y)), train_size=n_images, stratify=y, random_state=seed)
    return np.sort(chosen)
