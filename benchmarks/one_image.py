"""One photo at a time, as a service gets them: from the bytes of a JPEG to a vector, beside plain torch.

Run ``python benchmarks/one_image.py [rounds [networks …]]``. Plain torch decodes with Pillow, applies torchvision's
transforms of the same sizes, and runs the network as it was built, in inference mode. All roads run in one thread and
take turns; figures are milliseconds of processor time, which other work on the machine disturbs less than those of the
clock, and medians of the ratios within a round. Random weights, which change no time; every photo is new, so nothing is
found in a store.
"""

import io
import statistics
import sys
import time
from tempfile import TemporaryDirectory

import timm
import torch
from _measure import header, in_turns, make_photos, print_table, spread
from engines import lively, without_head
from PIL import Image
from torchvision import models
from torchvision.transforms._presets import ImageClassification

from sktl import PretrainedFeatureExtractor
from sktl.backbones import Preprocessing, load_backbone

N_ROUNDS = 30
NETWORKS = {
    "mobilenet_v2": lambda: models.mobilenet_v2(),
    "efficientnet_lite0": lambda: timm.create_model("tf_efficientnet_lite0"),
    "resnet50": lambda: models.resnet50(),
}
PLAIN = "plain torch"


def roads_of(name, photos):
    """Return what turns the next photo into a vector, by name, and the milliseconds of the first one."""
    torch.manual_seed(0)
    network = without_head(lively(NETWORKS[name]()))
    preprocessing = Preprocessing(crop_size=224, resize_size=256)
    backbone = load_backbone(network, preprocessing=preprocessing)
    transforms = ImageClassification(crop_size=224, resize_size=256)

    def plain(photo):
        with torch.inference_mode():
            return network(transforms(Image.open(io.BytesIO(photo)).convert("RGB"))[None])

    def own(engine, cache):
        extractor = PretrainedFeatureExtractor(backbone, engine=engine, cache=cache).fit(photos[:1])
        extractor.store_info_.keep_no_fews()  # as in a model that was read from a file
        return lambda photo: extractor.transform([photo])

    roads = {
        PLAIN: plain,
        "sktl torch, cache=False": own("torch", False),
        "sktl torch, with a store": own("torch", True),
        "sktl onnxruntime, cache=False": own("onnxruntime", False),
    }
    first = {road: _milliseconds(run, photos[0]) for road, run in roads.items()}
    return roads, first


def _milliseconds(run, photo):
    start = time.process_time()
    run(photo)
    return 1000 * (time.process_time() - start)


def measured(name, photos, n_rounds):
    """Return rows of the table for one network."""
    roads, first = roads_of(name, photos)
    turns = {road: iter(photos[1:]) for road in roads}
    rounds = in_turns(
        {road: lambda road=road, run=run: _milliseconds(run, next(turns[road])) for road, run in roads.items()},
        n_rounds,
    )
    for road, found in rounds.items():
        ratios = [one / other for one, other in zip(found, rounds[PLAIN], strict=True)]
        ratio = "1.00" if road == PLAIN else f"{statistics.median(ratios):.2f}"
        yield [name, road, spread(found), ratio, f"{first[road]:.0f}"]


def main():
    """Print one markdown table."""
    torch.set_num_threads(1)
    n_rounds = int(sys.argv[1]) if len(sys.argv) > 1 else N_ROUNDS
    print(header(f"JPEG photos of 500 x 375 pixels, {n_rounds} rounds", peers=("timm", "onnxruntime")))
    with TemporaryDirectory() as folder:
        photos = []
        for path in make_photos(folder, n_rounds + 1):
            with open(path, "rb") as file:
                photos.append(file.read())
    print_table(
        ["backbone", "road", "milliseconds, median (least to greatest)", "against plain torch", "first image"], []
    )
    for name in sys.argv[2:] or NETWORKS:
        for row in measured(name, photos, n_rounds):
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
