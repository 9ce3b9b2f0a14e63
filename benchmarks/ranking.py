"""Which way of choosing a network finds the one that is best once it is fine-tuned: regret and rank correlation.

Run with ``python benchmarks/ranking.py``: it computes what is missing of the stored results, and prints their tables.
--data is the folder of data sets and weights as _truths.py wants it, by default the one that SKTL_SHARED_DATA names;
the stored results do without.

The truth: each network, fine-tuned with the defaults of FineTuneClassifier on 50 or 200 images, on images set aside.
The ways see the training images only, and all but the last see every network once, as it is:

- probe: the best mean score of the frozen recipe, by cross-validation, in rank_backbones;
- 1-NN, LogME: the best nearest_neighbour_score, the best log_me, of the same features;
- prior: the best published accuracy on ImageNet; networks without one come last;
- recommended: the cheapest of the networks in the leading group within 0.01 of the leader, as rank_backbones recommends
  it, with seconds per image that are the median over all cells, since other work ran on the machine;
- leading group, cheapest: of all of the group;
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
from collections import defaultdict
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
ROPE = 0.01
SIGNALS = {"probe, cross-validated": "mean", "1-NN": "nearest_neighbour", "LogME": "log_me"}
PRIOR, OURS, FINALISTS = "prior: published top-1", "recommended: cheapest within 0.01", "two finalists"
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
    names = ("mean", "sd", "difference", "low", "high", "nearest_neighbour", "log_me", "seconds_per_image")
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


def ways(rows, seconds, n_folds, finals):
    """Return the scores that each way gives to the networks; those without an order of all give one to their choice."""
    scores = {way: {name: row[signal] for name, row in rows.items()} for way, signal in SIGNALS.items()}
    scores[PRIOR] = {name: NETWORKS[name][2] or 0.0 for name in rows}
    chosen = choices(rows, seconds, n_folds)
    if finals:
        chosen[FINALISTS] = max(finals, key=finals.get)
    chosen |= {f"always {name}": name for name in rows}
    scores |= {way: {name: float(name == one) for name in rows} for way, one in chosen.items()}
    return scores | {"random choice": dict.fromkeys(rows, 0.0)}


def choices(rows, seconds, n_folds):
    """Return the network that each way without an order of all chooses."""
    names = sorted(rows, key=lambda name: -rows[name]["mean"])
    group = [name for name in names if rows[name]["in_leading_group"]]
    least = rows[names[0]]["mean"] - rows[names[0]]["sd"] / np.sqrt(n_folds)
    near = [name for name in names if rows[name]["mean"] >= least]
    rope = rows[names[0]]["mean"] - ROPE - 1e-12
    prior = max(group, key=lambda name: NETWORKS[name][2] or 0.0)  # of equal ones the first, which scores best
    return {
        OURS: cheapest([name for name in group if rows[name]["mean"] >= rope], seconds),
        "leading group, cheapest": cheapest(group, seconds),
        "leading group, best prior": prior,
        "1 SE, cheapest": cheapest(near, seconds),
    }


def cheapest(names, seconds):
    """Return the cheapest network as rank_backbones does: within 20 % of the fewest seconds, the first."""
    return next(name for name in names if seconds[name] <= 1.2 * min(seconds[each] for each in names))


def judged(scores, truth):
    """Return regret in points, weighted tau (NaN without an order of all), and whether the best was chosen."""
    values = np.array(list(truth.values()))
    judged = {}
    for way, given in scores.items():
        given = np.array([given[name] for name in truth])
        chosen = given == given.max()
        tau = stats.weightedtau(given, values).statistic if way in ORDERS else np.nan
        regret = 100 * (values.max() - values[chosen].mean())
        judged[way] = regret, tau, float(np.mean(values[chosen] == values.max()))
    return judged


def standard_error(values):
    """Return the standard error of a mean."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def way_cells(cells, way):
    """Write regret, regret against the recommendation over sets, how often right, and weighted tau of a way.

    Parameters
    ----------
    cells : dict of tuple to dict
        By set and seed, what `judged` found.
    way : str
        Which way.

    Returns
    -------
    list of str
        Cells of the table.
    """
    regrets, taus, hits = (np.array(column) for column in zip(*(cell[way] for cell in cells.values()), strict=True))
    against = defaultdict(list)
    for (name, _), cell in cells.items():
        against[name].append(cell[way][0] - cell[OURS][0])
    mean, half = interval([np.mean(differences) for differences in against.values()])
    return [
        f"{regrets.mean():.1f} ± {standard_error(regrets):.1f}",
        "" if way == OURS else f"{mean:+.1f} ± {half:.1f}",
        f"{100 * hits.mean():.0f} %",
        "–" if np.isnan(taus).any() else f"{taus.mean():.2f} ± {standard_error(taus):.2f}",
    ]


def print_ways(cells, sizes):
    """Print what the ways are worth, the sizes side by side; `cells` are what `judged` found by size, set and seed."""
    parts = {n: {(name, seed): cell for (name, size, seed), cell in cells.items() if size == n} for n in sizes}
    ways_of = [set.intersection(*(set(cell) for cell in part.values())) for part in parts.values()]
    listed = [way for way in next(iter(cells.values())) if all(way in known for known in ways_of)]
    columns = ["regret", "minus recommended", "best chosen", "weighted tau"]
    print_table(
        ["way", *(f"{column}, n = {n}" for n in sizes for column in columns)],
        [[way, *(text for part in parts.values() for text in way_cells(part, way))] for way in listed],
    )


def judge_all(ranked, finals, truth):
    """Return what `judged` found for every ranking, by set, size and seed."""
    names = list(next(iter(truth.values())))
    seconds = {name: np.median([each["networks"][name]["seconds_per_image"] for each in ranked]) for name in names}
    cells = {}
    for ranking in ranked:
        key = ranking["set"], ranking["n"], ranking["seed"]
        rows = {name: ranking["networks"][name] for name in names}
        tuned = {name: score for name, score in finals.get(key, {}).items() if name in names}
        cells[key] = judged(ways(rows, seconds, FOLDS[ranking["n"]], tuned), truth[key])
    return cells


def print_truths(truth, sets, sizes, seeds):
    """Print the mean truth of every network in per cent, set by set."""
    names = list(next(iter(truth.values())))
    lines = []
    for each in sets:
        for n in sizes:
            means = {name: 100 * np.mean([truth[each, n, seed][name] for seed in seeds]) for name in names}
            best = max(means.values())
            lines.append(
                [each, str(n), *(f"**{mean:.1f}**" if mean == best else f"{mean:.1f}" for mean in means.values())]
            )
    print_table(["set", "training images", *names], lines)


def parse():
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=os.environ.get("SKTL_SHARED_DATA", "data"))
    parser.add_argument("--truths", type=Path, default=HERE / "ranking_truths.jsonl")
    parser.add_argument("--rankings", type=Path, default=HERE / "ranking.jsonl")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), help="the pool")
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
    cases = [
        cell | {"network": network, "strategy": DEFAULT_STRATEGY} for cell in cells for network in options.networks
    ]
    truth = {}
    for record in truths(cases, options.data, options.truths, read_records(options.truths, KEY)):
        truth.setdefault((record["set"], record["n"], record["seed"]), {})[record["network"]] = record["score"]
    ranked = rankings([cell | {"finalists": 0} for cell in cells], options.data, options.rankings)
    chosen = [cell | {"finalists": 2} for cell in cells if cell["seed"] in options.finalist_seeds]
    finals = {
        (each["set"], each["n"], each["seed"]): each["fine_tuned"]
        for each in rankings(chosen, options.data, options.rankings)
    }
    facts = (f"{options.image_size} px", f"{len(options.sets)} sets", f"seeds {options.seeds}")
    print(header(*facts, peers=("scikit-learn", "skorch")))
    print_truths(truth, options.sets, options.sizes, options.seeds)
    cells = judge_all(ranked, finals, truth)
    print(f"\nAll cells: {len(options.sets)} sets x {len(options.seeds)} seeds\n")
    print_ways(cells, options.sizes)
    tuned = {key: cell for key, cell in cells.items() if FINALISTS in cell}
    if tuned:
        print(f"\nCells in which finalists were fine-tuned: {len(tuned) // len(options.sizes)} for each size\n")
        print_ways(tuned, options.sizes)


if __name__ == "__main__":
    main()
