"""Images per second from JPEG files to vectors, nothing stored before: sktl beside what a user would write instead.

Run with ``python benchmarks/cold.py [backbone …]``. All roads take turns within one run, with networks of random
weights; the last column is the ratio within a round. Reading and network run at the same time in sktl, so the slower of
the two bounds it: they are measured alone as well.
"""

import argparse
import itertools
import tempfile
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
import torchvision
from _measure import header, in_turns, make_photos, print_table, seconds, spread
from PIL import Image

from sktl import PretrainedFeatureExtractor
from sktl.images import as_images
from sktl.inference import embed, resolve_placement

BATCH = 32
TIMM_NAMES = {"mobilenet_v2": "mobilenetv2_100"}  # where timm's name is not torchvision's
OURS = "sktl, cache=False"


class Photos(torch.utils.data.Dataset):
    """Files, as a torch data set with the transform of the weights."""

    def __init__(self, paths, transform):
        self.paths = paths
        self.transform = transform

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, i):
        """Read image i, with the target that skorch wants."""
        return self.transform(Image.open(self.paths[i]).convert("RGB")), 0


def headless(name):
    """Return torchvision's network without its classifier, and the transform of its weights."""
    weights = torchvision.models.get_model_weights(name).IMAGENET1K_V1
    model = torchvision.models.get_model(name, weights=None).eval()
    setattr(model, "fc" if hasattr(model, "fc") else "classifier", torch.nn.Identity())
    return model, weights.transforms()


def batched(model, transform, paths):
    """Return the loop that every tutorial has."""

    def run():
        features = []
        with torch.inference_mode():
            for start in range(0, len(paths), BATCH):
                images = [Image.open(path).convert("RGB") for path in paths[start : start + BATCH]]
                features.append(model(torch.stack([transform(image) for image in images])))
        return torch.cat(features).numpy()

    return run


def with_torchvision(name, paths):
    """Loop over torchvision's network."""
    return batched(*headless(name), paths)


def with_timm(name, paths):
    """Loop over timm's network, with the transform that timm makes for it."""
    import timm

    model = timm.create_model(TIMM_NAMES.get(name, name), pretrained=False, num_classes=0).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    return batched(model, transform, paths)


def with_embetter(name, paths):
    """Run embetter's pipeline from paths to vectors."""
    import timm
    from embetter.vision import ImageLoader, TimmEncoder
    from sklearn.pipeline import make_pipeline

    create = timm.create_model
    # embetter always asks for pretrained weights, which would have to be downloaded.
    with patch.object(
        timm, "create_model", lambda model, **options: create(model, **(options | {"pretrained": False}))
    ):
        encoder = TimmEncoder(TIMM_NAMES.get(name, name))
    return lambda: make_pipeline(ImageLoader(), encoder).fit_transform(paths)


def with_skorch(name, paths):
    """Let skorch predict with a network without its classifier."""
    from skorch import NeuralNet

    model, transform = headless(name)
    net = NeuralNet(model, criterion=torch.nn.MSELoss, batch_size=BATCH, device="cpu").initialize()
    return lambda: net.predict(Photos(paths, transform))


def with_img2vec(name, paths):
    """Embed one image after the other with img2vec."""
    from img2vec_pytorch import Img2Vec, img_to_vec

    if not hasattr(img_to_vec, name):
        raise NotImplementedError
    # img2vec always asks for pretrained weights, which would have to be downloaded.
    with patch.object(img_to_vec, name, lambda weights: torchvision.models.get_model(name, weights=None)):
        encoder = Img2Vec(model=name)
    return lambda: np.stack([encoder.get_vec(Image.open(path).convert("RGB")) for path in paths])


def with_sktl(name, paths):
    """Embed without a store."""
    extractor = PretrainedFeatureExtractor(name, weights=None, random_state=0, device="cpu", cache=False).fit(paths)
    return lambda: extractor.transform(paths)


def with_fresh_store(name, paths, folder):
    """Embed into a new store each time."""
    numbers = itertools.count()

    def run():
        store = folder / name / str(next(numbers))
        extractor = PretrainedFeatureExtractor(name, weights=None, random_state=0, device="cpu", cache=store)
        return extractor.fit(paths).transform(paths)

    return run


def reading_alone(name, paths):
    """Read, resize and crop in the calling thread, and do nothing with it."""
    preprocessing = PretrainedFeatureExtractor(name, weights=None, random_state=0).fit(paths).backbone_.preprocessing
    images = as_images(paths)
    return lambda: [preprocessing.prepare(images[i]) for i in range(len(images))]


def network_alone(name, paths):
    """Run sktl's network over pictures that are read, resized and cropped already."""
    backbone = PretrainedFeatureExtractor(name, weights=None, random_state=0).fit(paths).backbone_
    images = as_images(paths)
    prepared = np.stack([backbone.preprocessing.prepare(images[i]) for i in range(len(images))])
    prepared = as_images(np.ascontiguousarray(prepared.transpose(0, 2, 3, 1)))
    preprocessing = replace(backbone.preprocessing, resize_size=backbone.preprocessing.crop_size)
    return lambda: embed(prepared, backbone, preprocessing, resolve_placement("cpu"))


def make_roads(name, paths, folder):
    """Return the roads that can be taken here, and why the others cannot."""
    makers = {
        "torchvision, plain loop": with_torchvision,
        "timm, plain loop": with_timm,
        "embetter": with_embetter,
        "skorch": with_skorch,
        "img2vec, one by one": with_img2vec,
        OURS: with_sktl,
        "sktl, fresh store": lambda name, paths: with_fresh_store(name, paths, folder),
        "sktl, reading alone": reading_alone,
        "sktl, network alone": network_alone,
    }
    roads, missing = {}, {}
    for road, make in makers.items():
        try:
            roads[road] = make(name, paths)
        except ImportError:
            missing[road] = "not installed"
        except NotImplementedError:
            missing[road] = "does not have this network"
    return roads, missing


def compare(name, paths, folder, n_rounds):
    """Return the rows of the table for one backbone."""
    roads, missing = make_roads(name, paths, folder)
    for road in roads.values():
        road()
    timed = {road: lambda run=run: seconds(run) for road, run in roads.items()}
    rounds = in_turns(timed, n_rounds)
    rows = []
    for road, times in rounds.items():
        speed = spread([len(paths) / one for one in times])
        ratio = spread([one / ours for one, ours in zip(times, rounds[OURS], strict=True)], ".2f")
        rows.append([name, road, speed, ratio])
    return rows + [[name, road, why, ""] for road, why in missing.items()]


def main():
    """Print one markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("backbones", nargs="*", default=["resnet18", "mobilenet_v2"])
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(
        header(
            f"{options.images} JPEG photos of 500 x 375 pixels, {options.rounds} rounds, batches of {BATCH}",
            peers=["timm", "embetter", "skorch", "img2vec_pytorch"],
        )
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        paths = make_photos(folder, options.images)
        for name in options.backbones:
            rows += compare(name, paths, Path(folder), options.rounds)
    columns = ["backbone", "road", "images/s, median (least to greatest)", f"speed of {OURS} against it"]
    print_table(columns, rows)


if __name__ == "__main__":
    main()
