"""On a cluster whose workers look into common segments, each image is embedded once, before the fits that need it.

What that takes is charged to the fits: each image to the first one that needs it, as in one process.
"""

import warnings
from dataclasses import dataclass, replace

import numpy as np
from sklearn.pipeline import Pipeline

from sktl._clusters import cluster_client
from sktl._executors import n_workers
from sktl.backbones.estimators import NetworkEstimator
from sktl.comparison._progress import announced
from sktl.feature_extraction import PretrainedFeatureExtractor
from sktl.feature_extraction.frozen_pipeline import KeptSeed
from sktl.images import take_rows
from sktl.inference import embed_images
from sktl.store import open_store, share_settings

__all__ = ["Charge", "embed_first", "embed_on_cluster"]

LEAST, MOST, PER_WORKER = 32, 512, 4  # images of a chunk, and chunks for each worker


@dataclass(frozen=True)
class Charge:
    """What was done for a fit before it."""

    fit_seconds: float = 0.0
    predict_seconds: float = 0.0
    n_images: int = 0

    def added_to(self, run):
        """Return the record of the fit with what was done before."""
        if run.error is not None or run.n_images_through_network is None:
            return run
        return replace(
            run,
            fit_seconds=run.fit_seconds + self.fit_seconds,
            predict_seconds=run.predict_seconds + self.predict_seconds,
            n_images_through_network=run.n_images_through_network + self.n_images,
        )


def embed_first(fits, X, *, verbose=0):
    """Embed the images of fits that are to be done; return what is charged, by split and candidate."""
    by_candidate: dict = {}
    for fit in fits if cluster_client() is not None else ():
        by_candidate.setdefault(fit.candidate, []).append(fit)
    charges = {}
    for name, own in by_candidate.items():
        for part in _parts(own[0].estimator):
            share_settings(part.cache, embeds_first=True)
        extractor = _extractor(own[0].estimator)
        if extractor is not None:
            rows = np.unique(np.concatenate([np.concatenate([fit.train, fit.test]) for fit in own]))
            found = embed_on_cluster(X, extractor, rows, f"Embedding images for {name}", verbose)
            if found is not None:
                in_order = sorted(own, key=lambda fit: fit.split)
                charges |= _charges(in_order, found.n_computed / len(rows), found.seconds_per_image)
    return charges


def embed_on_cluster(X, extractor, rows, text, verbose=0):
    """Have images embedded into the segments of a cluster; return None where there is no cluster or no segments."""
    client = cluster_client()
    segments = () if client is None else getattr(open_store(extractor.cache), "segments", ())
    if not segments:
        return None
    share_settings(extractor.cache, embeds_first=True)
    executor = client.get_executor()
    with announced(text, verbose):
        try:
            size = int(np.clip(len(rows) // (PER_WORKER * max(n_workers(executor), 1)), LEAST, MOST))
            options = {"executor": executor, "out": segments[0].folder, "chunk_size": size}
            return embed_images(take_rows(X, rows), extractor, on_error="nan", progress=False, **options)
        except Exception as error:  # whatever it is, those who need the vectors meet the same, or do without
            warnings.warn(
                f"{text} on the cluster failed, so each process computes what it needs by itself: {error}", stacklevel=6
            )
            return None


def _charges(fits, share, seconds):
    """Divide what was computed, a share of all images, among the fits that need them first."""
    charges, seen = {}, np.array([], dtype=int)
    for fit in fits:
        counts = []
        for part in (fit.train, fit.test):
            new = np.setdiff1d(part, seen)
            seen = np.union1d(seen, new)
            counts.append(share * len(new))
        fit_seconds, predict_seconds = (seconds * count for count in counts)
        charges[fit.split, fit.candidate] = Charge(fit_seconds, predict_seconds, round(sum(counts)))
    return charges


def _parts(estimator):
    every = (estimator, *estimator.get_params(deep=True).values())
    return [part for part in every if isinstance(part, NetworkEstimator)]


def _extractor(estimator):
    """Return the extractor that takes X as it is, with the same network on all splits; None where there is none."""
    while hasattr(estimator, "get_params") and not isinstance(estimator, (Pipeline, PretrainedFeatureExtractor)):
        estimator = getattr(estimator, "estimator", None)  # of a search
    if isinstance(estimator, Pipeline):
        estimator = estimator.steps[0][1]
    if not isinstance(estimator, PretrainedFeatureExtractor):
        return None
    is_drawn_anew = estimator.weights is None and not isinstance(estimator.random_state, KeptSeed)
    return None if is_drawn_anew else estimator
