"""The command ``sktl demo``: what transfer is worth, on data that everyone has."""

from os import cpu_count
from pathlib import Path
from typing import Annotated

import typer

from sktl._atomic_files import replacing
from sktl._optional import import_optional
from sktl._text import printable
from sktl.cli._comparison_options import FitsAtOnceOption, SeedOption
from sktl.cli._options import DeviceOption, VerboseOption
from sktl.cli._places import check_place
from sktl.cli._reporting import errors_as_messages, print_comparison, say

__all__ = ["demo"]

SIZES = (20, 100, 500)
SHOWN = 100  # the number of labels that verdict and page are about
FOLDS = 5
CANDIDATES = ("dummy", "pixels", "frozen_random", "frozen", "fine_tuned", "from_scratch")
AT_ONCE = min(cpu_count() or 1, 4)  # each process loads torch


def demo(
    out: Annotated[Path, typer.Option(help="The folder for plots and page; it is made.")] = Path("out"),
    backbone: Annotated[str | None, typer.Option(help="Another network than the one that ships with sktl.")] = None,
    device: DeviceOption = "auto",
    n_jobs: FitsAtOnceOption = AT_ONCE,
    seed: SeedOption = 0,
    verbose: VerboseOption = True,
):
    """Show what transfer is worth on scikit-learn's digits, each moved to a random place of a page.

    Prints how many labels transfer saves, and the verdict at 100 labels with all controls; writes two plots and a page.
    Nothing is downloaded.
    """
    with errors_as_messages():
        if out.exists() and not out.is_dir():
            raise ValueError(f"--out must be a folder. Got the file {printable(out)!r} instead. Name another.")
        out.mkdir(parents=True, exist_ok=True)
        curve, figure, page = (out / name for name in ("label_efficiency.png", "comparison.png", "report.html"))
        import_optional("matplotlib", extra="plot", caller="sktl demo")
        for path in (curve, figure, page):
            check_place("--out", path, is_picture=path.suffix == ".png")
        network = {} if backbone is None else {"backbone": backbone}
        images, result = _run(seed, verbose, **network, device=device, n_jobs=n_jobs)
        comparison = result.comparison_at(SHOWN)
        print(result, end="\n\n")
        print(f"With {SHOWN} labels, and what else might explain it:\n")
        print_comparison(comparison)
        for path, display in ((curve, result.plot()), (figure, comparison.plot())):
            with replacing(path) as unfinished:
                display.figure_.savefig(unfinished, dpi=150)
        comparison.report(page, X=images, target_names=list("0123456789"))
        say(f"Wrote {printable(curve)}, {printable(figure)} and the page {printable(page)}.")


def _run(seed, verbose, **options):
    from sktl.datasets import load_moved_digits
    from sktl.label_efficiency import label_efficiency

    X, y = load_moved_digits(random_state=seed)
    say(
        f"scikit-learn's {len(X):,} digits, each at a random place of a page. {FOLDS} folds: candidates learn from "
        f"{', '.join(map(str, SIZES))} labels, and are tested on a fifth that none of them has seen."
    )
    result = label_efficiency(
        X,
        y,
        sizes=SIZES,
        candidates=CANDIDATES,
        cv=FOLDS,
        random_state=seed,
        duplicates="ignore",  # there are none: another place is another picture
        verbose=int(verbose),
        **options,
    )
    return X, result
