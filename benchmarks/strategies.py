"""Does recommend_strategy find what is best on other images, and do its seconds hold? Case by case.

Run with ``python benchmarks/strategies.py --data FOLDER``; the folder has ``datasets``, as _datasets.py describes it,
and ``weights``. For each case, 200 images of a set and a network, recommend_strategy is called within a budget. The
truth are the scores of all strategies on up to 400 other images, each fitted on the same 200 with the defaults of its
estimator. Regret is what the recommended strategy lacks there against the best one. Predicted seconds, of all folds,
are compared with those measured in the same call.

All seconds, the budget's too, are those of the processor: the machine may do other things besides. One thread is
assumed, so set OMP_NUM_THREADS=1.

Every call is a line of --results, and every truth one of --truths; a second run does what is missing.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from _datasets import load_set, take
from _measure import header, print_table
from _study import append_record, read_records
from _truths import KEY, NETWORKS, STRATEGIES, split, truths, weights_of

from sktl.transferability import recommend_strategy

CASES = (
    ("doodles6", "tiny_fractal"),
    ("hymenoptera", "squeezenet1_1"),
    ("clothing10", "mobilenet_v2"),
    ("rsscn7", "efficientnet_lite0"),
    ("pneumonia28", "mobilenet_v2"),
    ("caltech15", "mobilenet_v2 birds"),
)
N, SEED, IMAGE_SIZE, FOLDS = 200, 0, 64, 3
CALL = ("set", "network", "n", "seed", "image_size", "budget")
# What recommend_strategy calls the strategies whose truth is known.
TRUTHS = {
    "frozen": "frozen",
    "fine_tuned_1": "depth 1",
    "fine_tuned_2": "depth 2",
    "fine_tuned_all": "all",
    "from_scratch": "from scratch",
}
CLOSE = 0.25  # relative error of predicted seconds


def call(case, folder, fits):
    """Call recommend_strategy once; return what it said, and the held-out score of what it recommends."""
    X, y = load_set(folder / "datasets", case["set"])
    training, test = split(y, case["seed"])
    train = training[case["n"]]
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = recommend_strategy(
            take(X, train),
            y[train],
            NETWORKS[case["network"]][0],
            weights=weights_of(folder / "weights", case["network"]),
            image_size=case["image_size"],
            budget=case["budget"],
            cv=FOLDS,
            random_state=case["seed"],
            duplicates="ignore",
            resume=fits,
        )
        took = time.perf_counter() - start
        own = None
        if found.recommended not in TRUTHS:  # the linear model on other stages
            model = found.to_estimator().fit(take(X, train), y[train])
            own = float(np.mean(model.predict(take(X, test)) == y[test]))
    rows = {
        row.strategy: {"mean": row.mean, "predicted": row.predicted_seconds, "measured": row.measured_seconds}
        for row in found.rows()
    }
    said = {"recommended": found.recommended, "level": list(found.level), "rows": rows, "score": own}
    return case | said | {"seconds": round(took, 1)}


def calls(options):
    """Make the calls that are missing, by the clock of the processor."""
    done, found, clock = read_records(options.results, CALL), [], time.perf_counter
    time.perf_counter = time.process_time  # which all of sktl looks up when it asks for the time
    for name, network in CASES:
        case = {"set": name, "network": network, "n": N, "seed": SEED, "image_size": IMAGE_SIZE}
        case["budget"] = options.budget
        key = tuple(case[part] for part in CALL)
        if key not in done:
            done[key] = call(case, options.data, options.fits)
            append_record(options.results, done[key])
        found.append(done[key])
    time.perf_counter = clock
    return found


def truths_of(case, options, done):
    """Return the held-out scores of all strategies of a case."""
    cases = [{name: case[name] for name in KEY if name != "strategy"} | {"strategy": one} for one in STRATEGIES]
    return {one["strategy"]: one["score"] for one in truths(cases, options.data, options.truths, done)}


def regret_of(case, name, truth):
    """Return by how many points a strategy is behind the best one, that on other stages among them."""
    known = [*truth.values(), *([] if case["score"] is None else [case["score"]])]
    score = truth[TRUTHS[name]] if name in TRUTHS else case["score"]
    return 100 * (max(known) - score)


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    here = Path(__file__).parent
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--budget", type=float, default=150)
    parser.add_argument("--results", type=Path, default=here / "strategies.jsonl")
    parser.add_argument("--fits", type=Path, help="where finished fits are kept, to go on with after a break")
    parser.add_argument("--truths", type=Path, default=here / "strategy_truths.jsonl")
    options = parser.parse_args()
    found, done = calls(options), read_records(options.truths, KEY)
    lines, ratios, regrets, cheap = [], [], [], []
    for case in found:
        truth = truths_of(case, options, done)
        regret = regret_of(case, case["recommended"], truth)
        regrets.append(regret)
        cheap.append(regret_of(case, "frozen", truth))
        pairs = [row["predicted"] / row["measured"] for row in case["rows"].values() if row["measured"]]
        ratios += pairs
        held_out = [f"{100 * truth[name]:.1f}" for name in STRATEGIES]
        seconds = ", ".join(f"{ratio:.2f}" for ratio in pairs) or "–"
        lines.append([case["set"], case["network"], case["recommended"], *held_out, f"{regret:.1f}", seconds])
    print(header(f"{N} images, {IMAGE_SIZE} px, {FOLDS} folds, budget {options.budget:g} s", peers=("scikit-learn",)))
    print_table(["set", "network", "recommended", *STRATEGIES, "regret", "predicted / measured s"], lines)
    close = np.mean([abs(ratio - 1) <= CLOSE for ratio in ratios])
    print(f"Mean regret {np.mean(regrets):.2f} points; always frozen {np.mean(cheap):.2f}.")
    print(f"Predicted seconds within ±{CLOSE:.0%} of measured in {close:.0%} of {len(ratios)} strategies.")


if __name__ == "__main__":
    main()
