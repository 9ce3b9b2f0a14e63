"""What a user writes who has every call checked: ``mypy --strict`` must find nothing here, and every name."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sklearn.pipeline import make_pipeline  # type: ignore[import-untyped]

from sktl import (
    FineTuneClassifier,
    FineTunedFeatures,
    FineTuneRegressor,
    LinearProbeClassifier,
    LinearProbeRegressor,
    PatchAnomalyDetector,
    PretrainedClassifier,
    PretrainedFeatureExtractor,
    compare_transfer,
    rank_backbones,
    recommend_strategy,
)
from sktl.backbones import list_backbones, load_backbone
from sktl.comparison import TransferComparison
from sktl.datasets import make_fractals
from sktl.displays import ComparisonDisplay, class_activation_map, confusion_display
from sktl.images import load_image_folder, read_image
from sktl.inference import ImageEmbeddings, embed_chunk, embed_images, pickled_extractor
from sktl.label_efficiency import label_efficiency
from sktl.models import export_onnx, load_model, save_model
from sktl.near_duplicates import find_leaks, inspect_images, near_duplicate_groups
from sktl.reports import write_report
from sktl.training.callbacks import L2SP
from sktl.transferability import log_me


def frozen(folder: Path) -> float:
    """Score frozen features of photographs."""
    photos = load_image_folder(folder)
    extractor = PretrainedFeatureExtractor("efficientnet_lite0", layer="all", pooling="avg+std", on_error="nan")
    features = extractor.fit(photos.images).transform(photos.images)
    probe = LinearProbeClassifier().fit(features, photos.target)
    save_model(make_pipeline(extractor, probe), folder / "model.safetensors")
    return log_me(features, photos.target) + float(probe.predict(features).mean())


def fine_tuned(folder: Path) -> FineTuneClassifier:
    """Train, and look at what was trained."""
    images, target = make_fractals(40, n_classes=2, random_state=0)
    model = FineTuneClassifier(unfreeze_depth="all", max_epochs=2, callbacks=[L2SP(0.1)], random_state=0)
    fitted = model.fit(images, target, sample_weight=None)
    fitted.predict_proba(images).max(axis=1)
    class_activation_map(fitted, images)
    print(fitted.predict(images).shape, fitted.score(images, target))
    export_onnx(fitted, folder / "model.onnx")
    load_model(folder / "model.safetensors")
    FineTuneRegressor(weights=None).fit(images, target).predict(images)
    FineTunedFeatures(fitted).fit(images, target).transform(images)
    LinearProbeRegressor().fit(images.reshape(len(images), -1), target)
    PatchAnomalyDetector().fit(images).decision_function(images)
    PretrainedClassifier("resnet18").fit(images).top(images)
    return fitted


def embedded(folder: Path) -> ImageEmbeddings:
    """Embed photographs in chunks."""
    photos = load_image_folder(folder)
    extractor = PretrainedFeatureExtractor().fit(photos.images)
    with ThreadPoolExecutor(2) as executor:
        vectors = embed_images(photos.images, extractor, executor=executor, chunk_size=8, on_error="nan")
    print(vectors.mean(axis=0), [error.reason for error in embed_chunk(pickled_extractor(extractor), []).failures])
    embeddings = embed_images(photos.images, extractor, out=folder / "segments", progress=False)
    print(embeddings.to_numpy().mean(axis=0), embeddings.shape[1], [error.path for error in embeddings.bad_images])
    return embeddings


def compared(folder: Path) -> TransferComparison:
    """Ask whether it paid."""
    photos = load_image_folder(folder)
    groups = near_duplicate_groups(photos.images)
    leaks = find_leaks(groups, [])
    inspect_images(photos.images)
    print(leaks, read_image(photos.images[0]).shape, list_backbones("resnet*"))
    backbone = load_backbone("resnet18", weights=None)
    comparison = compare_transfer(photos.images, photos.target, backbone=backbone, cv=5, groups=groups)
    ComparisonDisplay.from_comparison(comparison).plot()
    confusion_display(comparison, "frozen")
    write_report(comparison, folder / "report.html")
    label_efficiency(photos.images, photos.target, cv=3)
    rank_backbones(photos.images, photos.target, ["resnet18", "tiny_fractal"])
    recommend_strategy(photos.images, photos.target, budget=60.0)
    return comparison
