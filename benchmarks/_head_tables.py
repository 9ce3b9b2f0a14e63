"""The tables of a study of heads, for the seeds of the choice and for fresh ones; see heads.py."""

from collections import defaultdict

import numpy as np
from _measure import print_table
from _study import interval

SIZES = ("25", "50", "100", "200", "all")
MAIN = "all avg+std"
NOW, OURS = f"{MAIN} | s | logistic C=.01", f"{MAIN} | chosen | ridge"
RIVALS = (NOW, f"{MAIN} | root | logistic C=.1", f"{MAIN} | s | LDA, own shrinkage")


def over_sets(rows, candidate, rival, measure=0):
    """Return what a candidate is ahead of another: mean over sets of the mean over fits, and half its interval."""
    sets = defaultdict(list)
    for row in rows:
        if candidate in row["fits"] and rival in row["fits"]:
            sets[row["set"]].append(row["fits"][candidate][measure] - row["fits"][rival][measure])
    mean, half = interval([100 * np.mean(values) for values in sets.values()])
    return f"{mean:+.1f}" if np.isnan(half) else f"{mean:+.1f} ± {half:.1f}"


def networks_of(rows):
    """Return the networks in order of appearance."""
    return list(dict.fromkeys(row["network"] for row in rows))


def print_candidates(rows):
    """Print accuracy by number of images, log-loss, calibration error, and what the shipped probe is ahead."""
    lines = {}
    for candidate in dict.fromkeys(candidate for row in rows for candidate in row["fits"]):
        found = [row for row in rows if candidate in row["fits"]]
        values = np.array([row["fits"][candidate] for row in found])
        sizes = np.array([row["n"] for row in found])
        by_size = [f"{100 * values[sizes == size, 0].mean():.1f}" for size in SIZES if (sizes == size).any()]
        if len(found) == len(rows):
            mean = 100 * values[:, 0].mean()
            cells = [*by_size, f"{mean:.1f}", f"{values[:, 1].mean():.3f}", f"{100 * values[:, 2].mean():.1f}"]
        else:
            mean, cells = -len(lines), ["–"] * (len(SIZES) + 3)
        ahead = "" if candidate == OURS else over_sets(rows, OURS, candidate)
        lines[candidate] = (mean, [*candidate.split(" | "), *cells, ahead])
    sizes = [f"n = {size}" for size in SIZES]
    columns = ["features", "divided by", "head", *sizes, "mean", "log-loss", "calibration error", "probe minus it"]
    print_table(columns, [line for _, line in sorted(lines.values(), key=lambda pair: -pair[0])])


def print_groups(rows):
    """Print what the shipped probe is ahead of three rivals, by classes, images per class and network."""
    groups = defaultdict(list)
    for row in rows:
        per_class = row["n_train"] / row["n_classes"]
        groups["2 classes" if row["n_classes"] == 2 else "6 or 7" if row["n_classes"] < 10 else "10 to 15"].append(row)
        groups["below 5 images a class" if per_class < 5 else "5 to 20" if per_class < 20 else "above 20"].append(row)
        groups[row["network"]].append(row)
    order = ("2 classes", "6 or 7", "10 to 15", "below 5 images a class", "5 to 20", "above 20", *networks_of(rows))
    lines = [[name, *(over_sets(groups[name], OURS, rival) for rival in RIVALS)] for name in order if groups[name]]
    print_table(["probe minus …", *(rival.removeprefix(f"{MAIN} | ").replace(" | ", ": ") for rival in RIVALS)], lines)


def print_losses(rows):
    """Print where the shipped probe is behind the former recipe, at one network, set and size."""
    cells = defaultdict(list)
    for row in rows:
        cells[row["network"], row["set"], row["n"]].append(row["fits"][OURS][0] - row["fits"][NOW][0])
    means = {cell: 100 * np.mean(values) for cell, values in cells.items()}
    worst = sorted(means, key=means.get)[:5]
    print(f"Ahead in {sum(mean > 0 for mean in means.values())} of {len(means)} cells, behind in ", end="")
    print(f"{sum(mean < 0 for mean in means.values())}; most behind: ", end="")
    print("; ".join(f"{', '.join(cell)}: {means[cell]:+.1f}" for cell in worst))


def print_numbers(rows):
    """Print the explained share of the variance by network: mean, and the worst fit."""
    values = defaultdict(lambda: defaultdict(list))
    for row in rows:
        for key, (score,) in row["fits"].items():
            values[key.split(" | ", 1)[1]][row["network"]].append(score)
    lines = [
        [
            *key.split(" | "),
            *(f"{np.mean(of[name]):.2f} ({min(of[name]):.1f})" if of[name] else "–" for name in networks_of(rows)),
        ]
        for key, of in values.items()
    ]
    print_table(["divided by", "model", *networks_of(rows)], lines)


def print_tables(records):
    """Print the tables, for the seeds of the choice and the fresh ones."""
    for title, seeds in (("Seeds 0 to 4, of the choice", range(5)), ("Seeds 5 to 9, fresh", range(5, 10))):
        rows = [record for record in records if record["seed"] in seeds]
        print(f"\n### {title}: {len(rows)} fits of all candidates\n")
        for task, printers in (
            ("classes", (print_candidates, print_groups, print_losses)),
            ("numbers", (print_numbers,)),
        ):
            some = [row for row in rows if row["task"] == task]
            for printer in printers if some else ():
                printer(some)
                print()
