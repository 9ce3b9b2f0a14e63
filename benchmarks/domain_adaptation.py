"""What is it worth to adapt to another domain without its labels? Accuracy on the target, road by road.

Run with ``python benchmarks/domain_adaptation.py --data FOLDER``, a folder of ``datasets`` and ``weights``: the digits
of MNIST and USPS, and photos, paintings and sketches of PACS, each domain as the source of each other one. Networks,
both with ImageNet's weights: efficientnet_lite0 of the extra ``imagenet`` and mobilenet_v2, whose norms are batch
norms. Features are those of the frozen candidate, all stages with mean and standard deviation, of images of 128 pixels;
the head is LinearProbeClassifier. The roads, on the same images:

- source only: labelled source images, and nothing else;
- per-domain scaling: PerDomain(StandardScaler()) of skada;
- CORAL: StandardScaler, PCA of 100, CORALAdapter(reg=0.5) of skada;
- adapted batch norm: adapt_batch_norm on each domain, each embedded by its own network;
- adapted + scaling: both;
- target only: labels of the target in place of those of the source, as many: what no adaptation can be expected to
  reach.

A seed draws 30 % of a domain for testing, 200 images at most, and of the others 200 to learn from, both with the
shares of the classes. Adaptation sees the images to learn from of both domains, never those of the test. Seeds 0 to 4
were looked at when roads were chosen, 5 to 9 were not. Every fit is a line of --results; a second run does what is
missing. --table prints the tables of what there is.
"""

import argparse
import csv
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
from _datasets import take
from _measure import header, print_table
from _study import append_record, interval, key_of, read_records
from sklearn import config_context
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from sktl import LinearProbeClassifier, PretrainedFeatureExtractor
from sktl.backbones import load_backbone
from sktl.domain_adaptation import adapt_batch_norm

with config_context():  # importing skada switches metadata routing on for the whole process
    from skada import CORALAdapter, PerDomain, make_da_pipeline

KEY = ("set", "source", "target", "seed", "road", "backbone", "image_size")
WEIGHTS = {"efficientnet_lite0": "default", "mobilenet_v2": "mobilenet_v2-imagenet-tf.pth"}
MOST, TEST_SHARE, SEEDS = 200, 0.3, range(10)
CHOSEN_ON = range(5)
SCALING = (PerDomain(StandardScaler()),)
# Name → whether networks are adapted, and what stands between features and head; None where labels are the target's.
ROADS = {
    "source only": (False, ()),
    "per-domain scaling": (False, SCALING),
    "CORAL": (False, (StandardScaler(), PCA(100, svd_solver="full"), CORALAdapter(reg=0.5))),
    "adapted batch norm": (True, ()),
    "adapted + scaling": (True, SCALING),
    "target only": (False, None),
}


def load_domains(folder, name):
    """Return images and labels by domain; labels are counted from 0 and mean the same in all of them."""
    if name == "digits_mnist_usps":
        file = np.load(folder / name / f"{name}.npz")
        parts = {"mnist": "mnist", "usps": "usps_train"}
        return {domain: (file[f"{part}_images"], file[f"{part}_labels"].astype(int)) for domain, part in parts.items()}
    with open(folder / name / "index.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    classes = sorted({row["label"] for row in rows})
    domains = {}
    for row in rows:
        X, y = domains.setdefault(row["domain"], ([], []))
        X.append(str(folder / name / row["file"]))
        y.append(classes.index(row["label"]))
    return {domain: (X, np.array(y)) for domain, (X, y) in domains.items()}


def split(y, seed):
    """Return the positions of images to learn from and of those to test on."""
    sizes = {"test_size": min(MOST, round(TEST_SHARE * len(y))), "random_state": seed}
    learn, test = train_test_split(np.arange(len(y)), stratify=y, **sizes)
    if len(learn) > MOST:
        learn, _ = train_test_split(learn, train_size=MOST, stratify=y[learn], random_state=seed)
    return learn, test


def vectors_of(backbone, X, learn, test, options):
    """Return the vectors of one domain, to learn from and to test on, by the network and by the adapted one."""
    parts = take(X, learn), take(X, test)
    adapted = adapt_batch_norm(backbone, parts[0], image_size=options.image_size)
    found = []
    for network in (backbone, adapted):
        extractor = PretrainedFeatureExtractor(
            network, image_size=options.image_size, layer="all", pooling="avg+std", cache=network is backbone
        )
        found.append(tuple(extractor.fit(parts[0]).transform(part) for part in parts))
    return found


def predict(steps, source, labels, target, test):
    """Fit a road on labelled vectors of the source and unlabelled ones of the target, and predict others of those."""
    domains = np.repeat([1, -2], [len(source), len(target)])
    y = np.concatenate([labels, np.full(len(target), -1)])
    with config_context(enable_metadata_routing=True):
        model = make_da_pipeline(*steps, LinearProbeClassifier())
        model.fit(np.concatenate([source, target]), y, sample_domain=domains)
        return model.predict(test, sample_domain=np.full(len(test), -2))


def run_seed(name, domains, seed, backbone, options, done):
    """Run what is missing of one seed, and write it down."""
    record = {"set": name, "seed": seed, "backbone": backbone.name, "image_size": options.image_size}
    todo = [
        record | {"source": source, "target": target, "road": road}
        for source, target, road in product(domains, domains, ROADS)
        if source != target
    ]
    todo = [one for one in todo if key_of(one, KEY) not in done]
    if not todo:
        return
    splits = {domain: split(y, seed) for domain, (_, y) in domains.items()}
    vectors = {domain: vectors_of(backbone, X, *splits[domain], options) for domain, (X, _) in domains.items()}
    for one in todo:
        (learn, _), (target_learn, test) = splits[one["source"]], splits[one["target"]]
        y, truth = domains[one["source"]][1][learn], domains[one["target"]][1]
        is_adapted, steps = ROADS[one["road"]]
        source, (target, seen) = vectors[one["source"]][is_adapted][0], vectors[one["target"]][is_adapted]
        if steps is None:
            found = LinearProbeClassifier().fit(target, truth[target_learn]).predict(seen)
        else:
            found = predict(steps, source, y, target, seen)
        right = found == truth[test]
        append_record(options.results, one | {"accuracy": float(right.mean()), "n_test": len(test)})


def table_rows(records, seeds):
    """Return a row per road: mean accuracy of each pair of domains, and the gain over the source with its interval."""
    pairs = list(dict.fromkeys((record["source"], record["target"]) for record in records))
    found = {(r["source"], r["target"], r["road"], r["seed"]): 100 * r["accuracy"] for r in records}
    rows = []
    for road in ROADS:
        scores = np.array([[found[(*pair, road, seed)] for seed in seeds] for pair in pairs])
        base = np.array([[found[(*pair, "source only", seed)] for seed in seeds] for pair in pairs])
        # Pairs of one seed share images: the seeds alone are told apart.
        gain, half = interval((scores - base).mean(axis=0))
        gained = "" if road == "source only" else f"{gain:+.1f} ± {half:.1f}"
        rows.append([road, *(f"{score:.1f}" for score in scores.mean(axis=1)), f"{scores.mean():.1f}", gained])
    return [f"{source} → {target}" for source, target in pairs], rows


def print_tables(records):
    """Print a table per set, network and image size, of the seeds that were chosen on and of the others."""
    what = ("set", "backbone", "image_size")
    for kind in dict.fromkeys(key_of(record, what) for record in records):
        of_kind = [record for record in records if key_of(record, what) == kind]
        counts = Counter(record["seed"] for record in of_kind)
        for title, seeds in (("chosen on", CHOSEN_ON), ("fresh", SEEDS[len(CHOSEN_ON) :])):
            complete = [seed for seed in seeds if counts[seed] == max(counts.values())]
            if complete:
                pairs, rows = table_rows([record for record in of_kind if record["seed"] in complete], complete)
                print("\n{}, {}, {} pixels".format(*kind) + f", seeds {complete[0]} to {complete[-1]} ({title})\n")
                print_table(["road", *pairs, "mean", "gain over source only"], rows)


def main():
    """Run what is missing, or print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--results", type=Path, default=Path(__file__).with_name("domain_adaptation.jsonl"))
    parser.add_argument("--sets", nargs="+", default=["digits_mnist_usps", "pacs"])
    parser.add_argument("--backbones", nargs="+", default=list(WEIGHTS), choices=list(WEIGHTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    done = read_records(options.results, KEY)
    if options.table:
        print_tables(list(done.values()))
        return
    header()
    for seed, name, network in product(options.seeds, options.sets, options.backbones):
        weights = WEIGHTS[network]
        weights = weights if weights == "default" else options.data / "weights" / weights
        domains = load_domains(options.data / "datasets", name)
        run_seed(name, domains, seed, load_backbone(network, weights), options, done)


if __name__ == "__main__":
    main()
