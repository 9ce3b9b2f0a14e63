"""A study as a file of fits, which can be stopped, split and gone on with, and the tables made of it."""

import json
import os
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy import stats

KEY = ("set", "n", "seed", "road", "backbone", "image_size", "max_passes")


def key_of(record, names=KEY):
    """Return what tells fits apart."""
    return tuple(record[name] for name in names)


def read_records(path, names=KEY):
    """Read the fits of a file by their keys; lines cut short by a killed process are left out, and said so."""
    records, n_bad = {}, 0
    lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines() if Path(path).exists() else []
    for line in filter(None, lines):
        try:
            record = json.loads(line)
            records[key_of(record, names)] = record
        except (json.JSONDecodeError, KeyError, TypeError):
            n_bad += 1
    if n_bad:
        print(f"{path}: {n_bad} line(s) cannot be read; these fits are done again.", file=sys.stderr)
    return records


def append_record(path, record):
    """Append one fit in a single write, on a line of its own whatever an earlier process left behind."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(record) + "\n"
    with open(path, "a+b") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else "\n" + line
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())


def interval(differences):
    """Return mean and half width of the 95 % t interval; a half width of nan for fewer than two differences."""
    n = len(differences)
    mean = float(np.mean(differences))
    if n < 2:
        return mean, float("nan")
    return mean, float(stats.t.ppf(0.975, n - 1) * np.std(differences, ddof=1) / np.sqrt(n))


def rows_of(records):
    """Return {(set, n): {road: {seed: record}}}."""
    rows = defaultdict(lambda: defaultdict(dict))
    for record in records:
        rows[record["set"], record["n"]][record["road"]][record["seed"]] = record
    return rows


def common_accuracies(row, roads):
    """Return each road's test images, 100 where right and 0 where wrong, over the seeds that all have, or nothing.

    Where a fit does not tell its images apart, its accuracy in per cent stands for all of them.
    """
    present = [road for road in roads if row.get(road)]
    seeds = sorted(set.intersection(*(set(row[road]) for road in present))) if present else []
    single = all("right" in row[road][seed] for road in present for seed in seeds)
    values = right_images if single else accuracy
    return {road: np.concatenate([values(row[road][seed]) for seed in seeds]) for road in present} if seeds else {}


def right_images(record):
    """Return which test images of a fit were right, as 100 and 0."""
    bits = np.frombuffer(bytes.fromhex(record["right"]), dtype=np.uint8)
    return 100.0 * np.unpackbits(bits, count=record["n_test"])


def accuracy(record):
    """Return a fit's accuracy in per cent."""
    return np.array([100 * record["accuracy"]])


def accuracy_row(accuracies, roads, ours):
    """Return the cells of one row: mean and half width of each road, and how ours stands to the best."""
    means = {road: values.mean() for road, values in accuracies.items()}
    best = max(means, key=means.get)
    cells, standing = [], "not run"
    for road in roads:
        if road not in means:
            cells.append("–")
            continue
        difference, half = interval(accuracies[road] - accuracies[best])
        width = "" if np.isnan(half) else f" ± {half:.1f}"
        cells.append(f"**{means[road]:.1f}**" if road == best else f"{means[road]:.1f}{width}")
        if road == ours:
            tied = road == best or abs(difference) <= half
            standing = "best" if means[road] == means[best] else "tied" if tied else f"**behind by {-difference:.1f}**"
            standing = "one seed" if np.isnan(half) and road != best else standing
    return [*cells, standing]


def road_rows(rows, roads, ours):
    """Return one line per road: mean rank, accuracy, difference from ours with its interval over sets, cost."""
    table = [common_accuracies(row, roads) for row in rows.values()]
    complete = [means for means in table if all(road in means for road in roads)]
    ranks = np.array([stats.rankdata([-means[road].mean() for road in roads]) for means in complete])
    lines = []
    for i, road in enumerate(roads):
        fits = [record for row in rows.values() for record in row.get(road, {}).values()]
        rank = f"{ranks[:, i].mean():.2f}" if complete else "–"
        accuracy = f"{np.mean([means[road].mean() for means in complete]):.1f}" if complete else "–"
        losses = [mean_of(fits, name) for name in ("log_loss", "ece")]
        seconds, passes = (f"{np.median([fit[what] for fit in fits]):.0f}" for what in ("seconds", "passes"))
        cut = f"{sum(fit['cut'] for fit in fits)} of {len(fits)}"
        lines.append([road, rank, accuracy, *losses, against_ours(rows, road, ours), seconds, passes, cut])
    return lines


def mean_of(fits, name):
    """Write the mean of a measure that every fit must have."""
    return f"{np.mean([fit[name] for fit in fits]):.3f}" if fits and all(name in fit for fit in fits) else "–"


def against_ours(rows, road, ours):
    """Write by how much ours is ahead of a road: mean over sets of the mean over sizes and seeds, and its interval."""
    if road == ours:
        return ""
    sets = defaultdict(list)
    for (name, _), row in rows.items():
        pair = common_accuracies(row, [ours, road])
        if len(pair) == 2:
            sets[name].append((pair[ours] - pair[road]).mean())
    if not sets:
        return "–"
    mean, half = interval([np.mean(differences) for differences in sets.values()])
    return f"{mean:+.1f}" if np.isnan(half) else f"{mean:+.1f} ± {half:.1f}"
