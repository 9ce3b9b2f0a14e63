"""The command ``sktl compare``: was transfer worth it on this folder of images."""

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from sktl._optional import import_optional
from sktl.cli._reporting import errors_as_messages, print_comparison, say

__all__ = ["compare"]

DEFAULT_PLOT = Path("comparison.png")


def _number_or_word(word, least):
    def parse(text):
        if text == word:
            return text
        if text.isdecimal() and int(text) >= least:
            return int(text)
        raise typer.BadParameter(f"must be a whole number, {least} or more, or {word!r}. Got {text!r} instead.")

    return parse


def _pretrained(text):
    if text.lower() == "none":
        raise typer.BadParameter(
            f"must name pretrained weights. Got {text!r} instead: training without them is what the candidate "
            "'from_scratch' does."
        )
    return text


def compare(
    folder: Annotated[Path | None, typer.Argument(help="A folder that holds one folder of images per class.")] = None,
    digits: Annotated[bool, typer.Option("--digits", help="Use the digits that ship inside scikit-learn.")] = False,
    n_labels: Annotated[int, typer.Option(min=10, help="With --digits: how many labelled images.")] = 100,
    backbone: Annotated[str, typer.Option(help="Name of the pretrained network.")] = "tiny_fractal",
    weights: Annotated[
        str, typer.Option(help="Its pretrained weights: a name or a file.", callback=_pretrained)
    ] = "default",
    image_size: Annotated[int | None, typer.Option(min=1, help="Side length in pixels to bring images to.")] = None,
    cv: Annotated[int, typer.Option(min=2, help="Number of folds.")] = 5,
    repeats: Annotated[int, typer.Option(min=1, help="How many times the folds are drawn anew.")] = 1,
    unfreeze_depth: Annotated[
        str, typer.Option(help="Top stages to fine-tune: a number or 'all'.", callback=_number_or_word("all", 0))
    ] = "1",
    max_epochs: Annotated[
        str, typer.Option(help="Training budget: a number or 'auto'.", callback=_number_or_word("auto", 1))
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
        plot = _check_writable(plot, csv)
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


def _check_writable(plot, csv):
    """Find out before the work, not after it, that its result has no place to go; return the true name of the plot."""
    _check_place("--plot", plot)
    _check_place("--csv", csv)
    if csv is not None:
        import_optional("pandas", extra="frame", caller="--csv")
    if plot is None:
        return None
    figure = import_optional("matplotlib.figure", extra="plot", caller="The figure").Figure()
    if not plot.suffix:
        plot = plot.with_name(f"{plot.name}.png")
        _check_place("--plot", plot)
    known = figure.canvas.get_supported_filetypes()
    if plot.suffix[1:].lower() not in known:
        raise ValueError(f"--plot must end in one of {', '.join(sorted(known))}. Got {str(plot)!r} instead.")
    return plot


def _check_place(option, path):
    if path is None:
        return
    if path.is_dir():
        raise ValueError(f"{option} must be a file to write. Got the folder {str(path)!r} instead: add a name to it.")
    if not path.absolute().parent.is_dir():
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

    if n_images is None or n_images >= len(y):
        return np.arange(len(y))
    rng = np.random.default_rng(seed)
    classes, counts = np.unique(y, return_counts=True)
    wanted = _shares(counts, n_images)
    parts = [
        rng.permutation(np.flatnonzero(y == label))[:number] for label, number in zip(classes, wanted, strict=True)
    ]
    return np.sort(np.concatenate(parts))


def _shares(counts, n_images):
    """Whole numbers of images per class, nearest to its share; at least one of each, if there are so many."""
    import numpy as np

    quotas = n_images * counts / counts.sum()
    least = int(n_images >= len(counts))
    wanted = np.maximum(np.floor(quotas).astype(int), least)
    while wanted.sum() < n_images:
        wanted[np.argmax(quotas - wanted)] += 1
    while wanted.sum() > n_images:  # small classes were given their one image: the others make room
        wanted[np.argmax(np.where(wanted > least, wanted - quotas, -np.inf))] -= 1
    return wanted
