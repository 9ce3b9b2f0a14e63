"""How well clusters of embeddings agree with the classes, which they have not seen.

Run with ``python benchmarks/clusters.py --data FOLDER``; the folder is one as _datasets.py describes it. Embeddings are
centred, brought to length one, and reduced to 20 components. Agreement is adjusted mutual information: 0 for clusters
drawn by lot, 1 for those of the classes. The number of clusters is that of the classes; HDBSCAN finds its own. Every
result is a line of --results, and a second run does what is missing.
"""

import argparse
from pathlib import Path

import numpy as np
from _datasets import SETS, load_set, take
from _measure import header, print_table
from _study import append_record, interval, read_records
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_mutual_info_score
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler

from sktl import PretrainedFeatureExtractor
from sktl.feature_extraction import PixelFeatures

KEY = ("set", "features", "clusters")
STUDY = tuple(name for name in SETS if name != "pneumonia28")
MAX_IMAGES = 1000
STAGES = {"layer": "all", "pooling": "avg+std"}
LITE0 = {"backbone": "efficientnet_lite0", "image_size": 96}
FEATURES = {
    "efficientnet_lite0, penultimate": lambda: PretrainedFeatureExtractor(**LITE0),
    "efficientnet_lite0, all stages": lambda: PretrainedFeatureExtractor(**LITE0, **STAGES),
    "efficientnet_lite0, random weights": lambda: PretrainedFeatureExtractor(**LITE0, weights=None, random_state=0),
    "tiny_fractal, penultimate": lambda: PretrainedFeatureExtractor(),
    "tiny_fractal, all stages": lambda: PretrainedFeatureExtractor(**STAGES),
    "tiny_fractal, random weights": lambda: PretrainedFeatureExtractor(weights=None, random_state=0),
    "pixels": lambda: PixelFeatures(),
}
CLUSTERS = {
    "KMeans": lambda n: KMeans(n, n_init=3, random_state=0),
    "GaussianMixture": lambda n: GaussianMixture(n, covariance_type="diag", n_init=3, random_state=0),
    "HDBSCAN": lambda n: HDBSCAN(min_cluster_size=10, copy=True),
}


def run(options):
    """Do what is missing."""
    done = read_records(options.results, KEY)
    for name in options.sets:
        X, y = load_set(options.data, name)
        kept = np.random.default_rng(0).permutation(len(y))[:MAX_IMAGES]
        X, y = take(X, kept), y[kept]
        for features, make in FEATURES.items():
            if all((name, features, clusters) in done for clusters in CLUSTERS):
                continue
            reduced = make_pipeline(make(), StandardScaler(with_std=False), Normalizer(), PCA(20, random_state=0))
            Z = reduced.fit_transform(X)
            for clusters, method in CLUSTERS.items():
                found = method(len(np.unique(y))).fit_predict(Z)
                record = {"set": name, "features": features, "clusters": clusters}
                agreement = float(adjusted_mutual_info_score(y, found))
                append_record(options.results, {**record, "ami": agreement, "left_out": float(np.mean(found < 0))})


def print_results(options):
    """Print the mean over sets, with half its 95 % interval."""
    records = read_records(options.results, KEY)
    lines = []
    for features in FEATURES:
        cells = []
        for clusters in CLUSTERS:
            rows = [records[name, features, clusters] for name in options.sets]
            cells.append("{:.2f} ± {:.2f}".format(*interval([row["ami"] for row in rows])))
        lines.append([features, *cells, f"{100 * np.mean([row['left_out'] for row in rows]):.0f} %"])
    print(header(f"sets {', '.join(options.sets)}"))
    print_table(["features", *CLUSTERS, "left out by HDBSCAN"], lines)


def main():
    """Run what is missing, then print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--results", type=Path, default=Path("out/clusters.jsonl"))
    parser.add_argument("--sets", nargs="+", default=STUDY)
    parser.add_argument("--table", action="store_true", help="print the table of what there is, and run nothing")
    options = parser.parse_args()
    if not options.table and (options.data is None or not options.data.is_dir()):
        parser.error(f"--data must be the folder of the data sets, such as {SETS[0]}, one folder each.")
    if not options.table:
        run(options)
    print_results(options)


if __name__ == "__main__":
    main()
