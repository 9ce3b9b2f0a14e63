"""How often a verdict of a comparison is wrong, and how often it finds a difference that is there.

    python benchmarks/verdicts.py made                                # differences made by chance, some three minutes
    python benchmarks/verdicts.py rules                               # other rules in the normal model, some seconds
    python benchmarks/verdicts.py real --data FOLDER --keep FOLDER    # on features of real images, some four minutes
    python benchmarks/verdicts.py folds --data FOLDER --keep FOLDER   # three, five or ten folds, some four minutes

FOLDER has `datasets` and `weights` (see _datasets.py); `--keep` is where the features are kept, half a minute's work.
Neither network connection nor accelerator is needed. Every row compares three intervals on the same comparisons:

- "corrected": the spread over the splits, widened for shared training images (Nadeau and Bengio).
- "crossed": the images that are tested, and the luck of each training.
- "images": the images alone, averaged over repeats, by the paired t-test: McNemar's test of many images. No test that
  looks at the test images only can find more, but it knows nothing of the luck of training.

"wrong" is the share of verdicts of better or worse where there is no difference (rope 0.01), "covers" that of the 95 %
intervals that hold the true difference, "found" that of verdicts of better where a difference was planted.
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
from _nulls import BALANCED, RECIPES, SCORES, blocks, made, read_features, real
from scipy import stats

from sktl._statistics import SHARPNESS, MeanDifference, corrected, crossed

ROPE = 0.01
KINDS = ("corrected", "crossed", "images")
SETS = {"doodles6": 64, "cifar10_test1k": 64, "pneumonia28": 64, "caltech15": 96, "clothing10": 96, "rsscn7": 96,
        "hymenoptera": 96}  # fmt: skip
NUMBERS, NUMBERS_SIZE = "bccd_counts", 128
WEIGHTS = "mobilenet_v2-imagenet-tf.pth"
USUAL = [name for name in RECIPES if name.startswith(("ridge", "nearest"))]
LUCK = {
    "no luck": {},
    "some luck (sd .03)": {"luck": 0.03},
    "unstable training (sd .1)": {"luck": 0.1},
    "one fit in five stuck": {"stuck": True},
}
OTHERS = {
    "50 images": {"n_images": 50},
    "classes 90 to 10": {"shares": (0.9, 0.1)},
    "classes 90 to 10, balanced accuracy": {"shares": (0.9, 0.1), "score": BALANCED},
    "ten classes, balanced accuracy": {"shares": (0.1,) * 10, "score": BALANCED},
    "groups of five": {"group_size": 5},
    "groups of five, 3 repeats": {"group_size": 5, "n_repeats": 3},
}
SHARED = {
    "two views of new data sets": {"source": blocks},
    "the same, 10 repeats": {"source": blocks, "n_repeats": 10},
    "the same, 300 images, 10 repeats": {"source": blocks, "n_repeats": 10, "n_images": 300},
    "half of luck sd .03 shared": {"luck": 0.03 * 0.5**0.5, "shared": 0.03 * 0.5**0.5},
    "a fifth of luck sd .1 shared": {"luck": 0.1 * 0.8**0.5, "shared": 0.1 * 0.2**0.5},
    "the same as before, 10 repeats": {"luck": 0.1 * 0.8**0.5, "shared": 0.1 * 0.2**0.5, "n_repeats": 10},
}


def judged(compared):
    """Estimate one difference in the three ways."""
    means, units, gains = [gain.mean() for gain in compared.gains], *map(np.concatenate, compared[1::-1])
    times, sums = np.bincount(units), np.bincount(units, gains)
    images = sums[times > 0] / times[times > 0]
    error = images.std(ddof=1) / np.sqrt(len(images)) or np.nan
    alone = MeanDifference(images.mean(), error, len(images) - 1, len(means), np.nan, "images")
    return corrected(means, 1, compared.ratio), crossed(*compared), alone


def tally(comparisons, truth=0.0, rope=ROPE):
    """Count, for each way, verdicts of better, of worse, and intervals that hold the truth; NaN ones hold it."""
    counts = np.zeros((len(KINDS), 3))
    for compared in comparisons:
        for row, found in zip(counts, judged(compared), strict=True):
            low, high = found.interval()
            row += found.verdict(rope) == "better", found.verdict(rope) == "worse", not (low > truth or high < truth)
    return counts


def null_row(label, comparisons, rope=ROPE):
    """Print how often each way finds a difference that is not there, and how often its interval covers zero."""
    counts, n = tally(comparisons, rope=rope), len(comparisons)
    wrong, covers = counts[:, :2].sum(axis=1) / n, counts[:, 2] / n
    cells = [f"{100 * one:.1f}" for pair in zip(wrong, covers, strict=True) for one in pair]
    print(f"| {label} | {n:,} | {' | '.join(cells)} |", flush=True)
    return np.array([n, *(counts[:, :2].sum(axis=1)), *counts[:, 2]])


def heading(first):
    """Print the head of a table of nulls."""
    print(f"\n| {first} | comparisons | " + " | ".join(f"{kind}: wrong, % | covers, %" for kind in KINDS) + " |")
    print("|---|---:|" + "---:|" * (2 * len(KINDS)))


def table_of_made(rng, scale):
    """Print nulls that are made by chance, half of them with 100 images and half with 200."""
    heading("luck, folds × repeats")
    total = 0
    for label, luck in LUCK.items():
        for n_folds, n_repeats in ((3, 1), (5, 1), (10, 1), (3, 10), (5, 3), (5, 10), (10, 10)):
            n = max(1, round(scale * 500))
            options = {"n_folds": n_folds, "n_repeats": n_repeats, **luck}
            drawn = [made(rng, n_images=size, **options) for size in (100, 200) for _ in range(n)]
            total = total + null_row(f"{label}, {n_folds} × {n_repeats}", drawn)
    for label, options in OTHERS.items():
        total = total + null_row(label, [made(rng, **options) for _ in range(round(1000 * scale))])
    print_total(total)
    print("\nLuck that all fits on one data set share, which no interval from one data set can see:")
    heading("100 images, 5 folds")
    for label, options in SHARED.items():
        options, n = dict(options), round(scale * 1500 / options.get("n_repeats", 1) ** 0.5)
        null_row(label, [options.pop("source", made)(rng, **options) for _ in range(n)])


def print_total(total):
    """Print a row of sums."""
    n, shares = total[0], 100 * total[1:] / total[0]
    cells = [f"{one:.1f}" for pair in zip(shares[:3], shares[3:], strict=True) for one in pair]
    print(f"| all | {n:,.0f} | {' | '.join(cells)} |", flush=True)


def table_of_real(rng, sets, scale):
    """Print nulls on real features: a recipe that draws random numbers against itself, 100 and 200 images, 5 folds."""
    heading("recipe, repeats")
    total = 0
    for name, recipe in RECIPES.items():
        for n_repeats, n in ((1, 30), (3, 10)):
            drawn = [
                real(rng, *data, (recipe, recipe), n_images=size, n_repeats=n_repeats)
                for data in sets.values()
                for size in (100, 200)
                for _ in range(round(n * scale))
            ]
            total = total + null_row(f"{name}, {n_repeats}", drawn)
    for n_folds in (3, 10):
        drawn = [
            real(rng, *data, (RECIPES[name],) * 2, n_images=200, n_folds=n_folds)
            for data in sets.values()
            for name in USUAL
            for _ in range(round(8 * scale))
        ]
        total = total + null_row(f"ridge and nearest neighbour, {n_folds} folds, 1", drawn)
    recipes = [RECIPES[name] for name in USUAL if name != "ridge, 24 columns"]
    drawn = [
        real(rng, *sets["pneumonia28"], (recipe, recipe), n_images=size, score=BALANCED)
        for recipe in recipes for size in (100, 200) for _ in range(round(50 * scale))
    ]  # fmt: skip
    total = total + null_row("balanced accuracy, classes 74 to 26, 1", drawn)
    print_total(total)


def table_of_numbers(rng, data, scale):
    """Print nulls of regression on real features, for every score that is a mean over images."""
    heading("score")
    y = data[1]
    for name, score in SCORES.items():
        drawn = [
            real(rng, *data, (recipe, recipe), n_images=size, n_repeats=n_repeats, score=score)
            for recipe in (RECIPES[one] for one in USUAL)
            for size in (100, 200)
            for n_repeats, n in ((1, 20), (3, 8))
            for _ in range(round(n * scale))
        ]
        null_row(name, drawn, rope=ROPE * {"R²": 1, "MSE": y.var()}.get(name, y.std()))


def table_of_pairs(rng, sets, scale):
    """Print how often the intervals of two different recipes cover the mean difference over many draws of images."""
    print("\n| two recipes, repeats | sets | comparisons | true differences | " + " | ".join(KINDS) + " |")
    print("|---|---:|---:|---:|" + "---:|" * len(KINDS))
    large = {name: data for name, data in sets.items() if len(data[1]) >= 1000}
    pairs = [(USUAL[0], USUAL[2]), (USUAL[0], USUAL[3]), (USUAL[1], USUAL[2])]
    for n_repeats, n in ((1, 100), (3, 40)):
        for pair in pairs:
            counts, truths = 0, []
            for data in large.values():
                recipes = [RECIPES[name] for name in pair]
                drawn = [
                    real(rng, *data, recipes, n_images=100, n_repeats=n_repeats) for _ in range(round(n * scale) + 1)
                ]
                truths.append(np.mean([np.mean([gain.mean() for gain in one.gains]) for one in drawn]))
                counts = counts + tally(drawn, truths[-1])
            n_all = len(large) * len(drawn)
            cells = [f"{100 * one:.1f} %" for one in counts[:, 2] / n_all]
            span = f"{min(truths):+.3f} to {max(truths):+.3f}"
            label = f"{pair[1]} − {pair[0]}, {n_repeats}"
            print(f"| {label} | {len(large)} | {n_all:,} | {span} | {' | '.join(cells)} |", flush=True)


def table_of_power(rng, sets, scale):
    """Print how often a planted difference gets the verdict better, and how often intervals cover it; then by set."""
    head = " | ".join(f"{kind}: found | covers" for kind in KINDS)
    print(f"\n| difference | images | repeats | comparisons | {head} |")
    print("|---:|---:|---:|---:|" + "---:|" * (2 * len(KINDS)))
    by_set = {}
    for gain in (0.05, 0.1):
        for size, n_repeats, n in ((100, 1, 15), (200, 1, 30), (200, 3, 10), (200, 10, 3)):
            counts, n_drawn = {}, round(n * scale) * len(USUAL)
            options = {"n_images": size, "n_repeats": n_repeats, "gain": gain}
            for name, data in sets.items():
                pairs = [(RECIPES[recipe],) * 2 for recipe in USUAL for _ in range(n_drawn // len(USUAL))]
                counts[name] = tally([real(rng, *data, pair, **options) for pair in pairs], gain) / n_drawn
            cells = [f"{100 * one:.1f} %" for row in np.mean([*counts.values()], axis=0) for one in (row[0], row[2])]
            print(f"| +{gain} | {size} | {n_repeats} | {n_drawn * len(sets):,} | {' | '.join(cells)} |", flush=True)
            if (size, n_repeats) == (200, 1):
                by_set[gain] = counts
    print("\n200 images, one repeat, found:\n")
    print("| set | " + " | ".join(f"+{gain}: {kind}" for gain in by_set for kind in KINDS) + " |")
    print("|---|" + "---:|" * (len(by_set) * len(KINDS)))
    for name in sets:
        cells = [f"{100 * row[0]:.1f} %" for counts in by_set.values() for row in counts[name]]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def table_of_folds(rng, sets, scale):
    """Print what one draw of three, five or ten folds finds among 200 images, and how often it is wrong.

    The first column asks for a corrected interval wholly beyond the rope.
    """
    columns = ["corrected, beyond the rope", *KINDS]
    print("\n| difference | folds | comparisons | " + " | ".join(f"{column}: found" for column in columns) + " |")
    print("|---:|---:|---:|" + "---:|" * len(columns))
    for gain in (0.0, 0.05, 0.1):
        wanted = {"better"} if gain else {"better", "worse"}
        for n_folds in (3, 5, 10):
            found = [
                found_by(real(rng, *data, (RECIPES[name],) * 2, n_images=200, n_folds=n_folds, gain=gain), wanted)
                for data in sets.values()
                for name in USUAL
                for _ in range(round(30 * scale))
            ]
            cells = [f"{100 * share:.1f} %" for share in np.mean(found, axis=0)]
            label = f"+{gain}" if gain else "none: wrong"
            print(f"| {label} | {n_folds} | {len(found):,} | {' | '.join(cells)} |", flush=True)


def found_by(compared, wanted):
    """Return by which ways one of the wanted verdicts is given; first by a corrected interval beyond the rope."""
    ways = judged(compared)
    low, high = ways[0].interval()
    beyond = "better" if low > ROPE else "worse" if high < -ROPE else "undecided"
    return [beyond in wanted, *(way.verdict(ROPE) in wanted for way in ways)]


def rules(n_folds, n_images=200):
    """Return the half widths of rules for one repeat, by the spread over folds, in units of what images explain.

    The unit of the widths is the standard error that the images alone give.
    """
    own, of_images, factor = n_folds - 1, n_images - n_folds, 1 + n_folds / (n_folds - 1)

    def width(variance, part, weight=1.0):
        return np.sqrt(variance) * quantile(variance**2 / (1 / of_images + weight * part**2 / own))

    def of_luck(luck):
        return width(1 + factor * luck, factor * luck)

    return {
        "corrected": lambda spread: np.sqrt(factor * spread) * quantile(own),
        "images alone (Bayle et al.)": lambda spread: np.full_like(spread, quantile(of_images)),
        "images + luck × (1/J + n_test/n_train)": lambda spread: of_luck(np.maximum(0, spread - 1)),
        "the same, upper bound of luck": lambda spread: of_luck(
            np.maximum(0, spread * own / stats.chi2.ppf(0.3, own) - 1)
        ),
        "the wider of images and folds": lambda spread: np.maximum(
            quantile(of_images), quantile(own) * np.sqrt(spread)
        ),
        "crossed": lambda spread: width(
            np.maximum(1, spread), spread, np.minimum(1, spread) ** (SHARPNESS * max(0, n_folds - 3))
        ),
    }


def quantile(degrees):
    """Return the upper 2.5 % point of Student's distribution."""
    return stats.t.ppf(0.975, degrees)


def table_of_rules(n_points=4000):
    """Print false alarms, the greatest over all sizes of luck, and power, as integrals over the spread of the folds."""
    middles = (np.arange(n_points) + 0.5) / n_points
    lucks, differences = np.r_[0, np.geomspace(0.05, 100, 30)], (1.7, 2.6, 4.3)
    print("\n| folds | rule | greatest share of false alarms | found: " + " | ".join(map(str, differences)) + " |")
    print("|---:|---|---:|" + "---:|" * len(differences))
    for n_folds in (3, 5, 10):
        without = stats.chi2.ppf(middles, n_folds - 1) / (n_folds - 1)
        for name, rule in rules(n_folds).items():
            alarms = [np.mean(2 * stats.norm.sf(rule(without * (1 + luck)) / np.sqrt(1 + luck))) for luck in lucks]
            found = [np.mean(stats.norm.sf(rule(without) - difference)) for difference in differences]
            cells = [f"{100 * max(alarms):.1f} %", *(f"{100 * share:.0f} %" for share in found)]
            print(f"| {n_folds} | {name} | {' | '.join(cells)} |", flush=True)


def load(data, keep):
    """Read the features of all sets, from where they are kept or from the images."""
    from sktl import PretrainedFeatureExtractor

    keep.mkdir(parents=True, exist_ok=True)
    for name, size in {**SETS, NUMBERS: NUMBERS_SIZE}.items():
        file = keep / f"{name}.npz"
        if not file.exists():
            options = {"weights": str(data / "weights" / WEIGHTS), "image_size": size, "cache": False}
            extractor = PretrainedFeatureExtractor("mobilenet_v2", **options)
            X, y = read_features(data / "datasets", name, extractor)
            np.savez(file, X=X, y=y)
        with np.load(file) as kept:
            yield name, (kept["X"], kept["y"])


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="?", choices=("made", "real", "rules", "folds"), default="made")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--keep", type=Path, default=Path("out/verdicts"))
    parser.add_argument("--scale", type=float, default=1.0, help="How many times as many comparisons.")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, start = np.random.default_rng(options.seed), time.process_time()
    warnings.filterwarnings("ignore", "The least populated class", UserWarning)
    print(f"5 folds unless told, seed {options.seed}, rope {ROPE}")
    if options.what == "made":
        table_of_made(rng, options.scale)
    elif options.what == "rules":
        table_of_rules()
    else:
        sets = dict(load(options.data, options.keep))
        numbers = sets.pop(NUMBERS)
        if options.what == "folds":
            table_of_folds(rng, sets, options.scale)
            return
        table_of_power(rng, sets, options.scale)
        table_of_real(rng, sets, options.scale)
        table_of_numbers(rng, numbers, options.scale)
        table_of_pairs(rng, sets, options.scale)
    print(f"\n{time.process_time() - start:.0f} s of one core")


if __name__ == "__main__":
    main()
