"""Which way of choosing a network finds the one that is best once it is fine-tuned: regret and rank correlation.

Run with ``python benchmarks/ranking.py``: it computes what is missing of the stored results, and prints their tables.
--data is the folder of data sets and weights as _truths.py wants it, by default the one that SKTL_SHARED_DATA names;
the stored results do without.

The truth: each network, fine-tuned with the defaults of FineTuneClassifier on 50 or 200 images, on images set aside.
The ways see the training images only, and all but the last see every network once, as it is:

- probe: the best mean score of the frozen recipe, by cross-validation, in rank_backbones;
- 1-NN, LogME: the best nearest_neighbour_score, the best log_me, of the same features;
- prior: the best published accuracy on ImageNet; networks without one come last;
- recommended: the cheapest of the leading group, as rank_backbones recommends it, with seconds per image that are the
  median over all cells, since other work ran on the machine;
- leading group, best prior: what the images leave open is left to the prior;
- 1 SE, cheapest: the cheapest of those within one standard error over folds of the best mean score;
- two finalists: rank_backbones(finalists=2), the better of both after fine-tuning on the same folds; costs as much as
  ten fits, so that it is run for the first seed alone;
- random choice; always the same network, whatever the images.

Regret is the truth of the best network minus that of the chosen one, in points of accuracy; equal scores share it.
The best of several measured truths is a little too good, by the same amount for all ways: differences between ways are
not touched by it. Weighted tau is Vigna's (scipy.stats.weightedtau), between the scores of a way and the truths.
"""

import argparse
import os
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from _datasets import load_set, take
from _measure import header, print_table
from _study import append_record, interval, read_records
from _truths import DEFAULT_STRATEGY, KEY, NETWORKS, SETS, SIZES, split, truths, weights_of
from scipy import stats

from sktl import rank_backbones
from sktl.backbones import load_backbone

HERE = Path(__file__).parent
FOLDS = {50: 3, 200: 5}  # with 50 images, the classes of some sets have three
RANKING_KEY = ("set", "n", "seed", "image_size", "finalists")
SIGNALS = {"probe, cross-validated": "mean", "1-NN": "nearest_neighbour", "LogME": "log_me"}
PRIOR, OURS, FINALISTS = "prior: published top-1", "recommended: leading group, cheapest", "two finalists"
ORDERS = (*SIGNALS, PRIOR)  # of all networks


def rank(case, folder):
    """Run rank_backbones on the training images of a case, and return what it says of every network."""
    X, y = load_set(folder / "datasets", case["set"])
    train = split(y, case["seed"])[0][case["n"]]
    networks = {
        name: load_backbone(network, weights=weights_of(folder / "weights", name), random_state=case["seed"])
        for name, (network, _, _) in NETWORKS.items()
    }
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ranking = rank_backbones(
            take(X, train),
            y[train],
            networks,
            cv=FOLDS[case["n"]],
            image_size=case["image_size"],
            finalists=case["finalists"],
            random_state=case["seed"],
            duplicates="ignore",
            device="cpu",
        )
    took = time.perf_counter() - start
    names = ("mean", "sd", "difference", "low", "high", "p_value", "nearest_neighbour", "log_me", "seconds_per_image")
    names += ("in_leading_group",)
    return case | {
        "networks": {row.name: {name: getattr(row, name) for name in names} for row in ranking.rows()},
        "recommended": ranking.recommended,
        "corrected": ranking.corrected.score,
        "controls": {row.candidate: row.mean for row in ranking.controls()},
        "fine_tuned": {row.candidate.removesuffix(", fine-tuned"): row.mean for row in ranking.fine_tuned()},
        "seconds": round(took, 2),
    }


def rankings(cases, folder, path):
    """Rank the cases that are not in a file, and return all of them."""
    done = read_records(path, RANKING_KEY)
    for case in cases:
        key = tuple(case[name] for name in RANKING_KEY)
        if key not in done:
            done[key] = rank(case, folder)
            append_record(path, done[key])
            print(*key, f"{done[key]['recommended']} in {done[key]['seconds']:.1f} s", file=sys.stderr, flush=True)
    return [done[tuple(case[name] for name in RANKING_KEY)] for case in cases]


def ways(ranking, seconds, finals):
    """Return the scores that each way gives to the networks; those without an order of all give one to their choice."""
    rows = ranking["networks"]
    scores = {way: {name: row[signal] for name, row in rows.items()} for way, signal in SIGNALS.items()}
    scores[PRIOR] = {name: top1 or 0.0 for name, (_, _, top1) in NETWORKS.items()}
    chosen = choices(rows, seconds, FOLDS[ranking["n"]])
    if finals is not None:
        chosen[FINALISTS] = max(finals["fine_tuned"], key=finals["fine_tuned"].get)
    scores |= {way: {name: float(name == one) for name in NETWORKS} for way, one in chosen.items()}
    scores["random choice"] = dict.fromkeys(NETWORKS, 0.0)
    return scores | {f"always {one}": {name: float(name == one) for name in NETWORKS} for one in NETWORKS}


def choices(rows, seconds, n_folds):
    """Return the network that each way without an order of all chooses."""
    names = sorted(rows, key=lambda name: -rows[name]["mean"])
    group = [name for name in names if rows[name]["in_leading_group"]]
    least = rows[names[0]]["mean"] - rows[names[0]]["sd"] / np.sqrt(n_folds)
    near = [name for name in names if rows[name]["mean"] >= least]
    prior = max(group, key=lambda name: NETWORKS[name][2] or 0.0)  # of equal ones the first, which scores best
    return {
        OURS: cheapest(group, seconds),
        "leading group, best prior": prior,
        "1 SE, cheapest": cheapest(near, seconds),
    }


def cheapest(names, seconds):
    """Return the cheapest network as rank_backbones does: within 20 % of the fewest seconds, the first."""
    return next(name for name in names if seconds[name] <= 1.2 * min(seconds[each] for each in names))


def judged(scores, truth):
    """Return regret in points, weighted tau (NaN without an order of all), and whether the best was chosen."""
    values = np.array([truth[name] for name in NETWORKS])
    judged = {}
    for way, given in scores.items():
        given = np.array([given[name] for name in NETWORKS])
        chosen = given == given.max()
        tau = stats.weightedtau(given, values).statistic if way in ORDERS else np.nan
        regret = 100 * (values.max() - values[chosen].mean())
        judged[way] = regret, tau, float(np.mean(values[chosen] == values.max()))
    return judged


def standard_error(values):
    """Return the standard error of a mean."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def way_rows(cells, way_names):
    """Return one line per way: regret, regret against the recommendation over sets, how often right, weighted tau.

    Parameters
    ----------
    cells : dict of tuple to dict
        By set and seed, what `judged` found.
    way_names : list of str
        Which ways.

    Returns
    -------
    list of list of str
        Cells of the table.
    """
    lines = []
    for way in way_names:
        found = {key: cell[way] for key, cell in cells.items() if way in cell}
        regrets, taus, hits = (np.array(column) for column in zip(*found.values(), strict=True))
        against = {}
        for (name, seed), (regret, _, _) in found.items():
            against.setdefault(name, []).append(regret - cells[name, seed][OURS][0])
        mean, half = interval([np.mean(values) for values in against.values()])
        tau = "–" if np.isnan(taus).any() else f"{taus.mean():.2f} ± {standard_error(taus):.2f}"
        difference = "" if way == OURS else f"{mean:+.1f} ± {half:.1f}"
        lines.append(
            [way, str(len(found)), f"{regrets.mean():.1f} ± {standard_error(regrets):.1f}", difference]
            + [f"{100 * hits.mean():.0f} %", tau]
        )
    return lines


def print_ways(ranked, finals, truth, sizes):
    """Print the table of ways, size by size."""
    seconds = {
        name: np.median([ranking["networks"][name]["seconds_per_image"] for ranking in ranked]) for name in NETWORKS
    }
    for n in sizes:
        cells, final_cells = {}, {}
        for ranking in (each for each in ranked if each["n"] == n):
            name, seed = ranking["set"], ranking["seed"]
            cell = judged(ways(ranking, seconds, finals.get((name, n, seed))), truth[name, n, seed])
            cells[name, seed] = cell
            if FINALISTS in cell:
                final_cells[name, seed] = cell
        columns = ["way", "cells", "regret, points", "minus recommended, over sets", "best chosen", "weighted tau"]
        names = list(dict.fromkeys(way for cell in cells.values() for way in cell if way != FINALISTS))
        print(f"\n{n} training images\n")
        print_table(columns, way_rows(cells, names))
        if final_cells:
            print(f"\n{n} training images, the cells in which finalists were fine-tuned\n")
            print_table(columns, way_rows(final_cells, [FINALISTS, *names]))


def print_truths(truth, sets, sizes, seeds):
    """Print the mean truth of every network in per cent, set by set."""
    lines = []
    for name in sets:
        for n in sizes:
            means = {w: 100 * np.mean([truth[name, n, seed][w] for seed in seeds]) for w in NETWORKS}
            best = max(means, key=means.get)
            lines.append([name, str(n), *(f"**{m:.1f}**" if w == best else f"{m:.1f}" for w, m in means.items())])
    print_table(["set", "training images", *NETWORKS], lines)


def parse():
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("SKTL_SHARED_DATA", "data"))
    parser.add_argument("--truths", type=Path, default=HERE / "ranking_truths.jsonl")
    parser.add_argument("--rankings", type=Path, default=HERE / "ranking.jsonl")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--sizes", nargs="+", type=int, choices=SIZES, default=list(SIZES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--finalist-seeds", nargs="*", type=int, default=[0])
    parser.add_argument("--image-size", type=int, default=64)
    return parser.parse_args()


def main():
    """Run what is missing, then print the tables."""
    options = parse()
    cells = [
        {"set": name, "n": n, "seed": seed, "image_size": options.image_size}
        for seed in options.seeds
        for n in options.sizes
        for name in options.sets
    ]
    cases = [cell | {"network": network, "strategy": DEFAULT_STRATEGY} for cell in cells for network in NETWORKS]
    truth = {}
    for record in truths(cases, options.data, options.truths, read_records(options.truths, KEY)):
        truth.setdefault((record["set"], record["n"], record["seed"]), {})[record["network"]] = record["score"]
    ranked = rankings([cell | {"finalists": 0} for cell in cells], options.data, options.rankings)
    chosen = [cell | {"finalists": 2} for cell in cells if cell["seed"] in options.finalist_seeds]
    finals = {(each["set"], each["n"], each["seed"]): each for each in rankings(chosen, options.data, options.rankings)}
    facts = (f"{options.image_size} px", f"{len(options.sets)} sets", f"seeds {options.seeds}")
    print(header(*facts, peers=("scikit-learn", "skorch")))
    print_truths(truth, options.sets, options.sizes, options.seeds)
    print_ways(ranked, finals, truth, options.sizes)


if __name__ == "__main__":
    main()
