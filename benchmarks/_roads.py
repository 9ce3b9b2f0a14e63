"""The roads from a pretrained network to a classifier, as their sources write them; see fine_tuning.py."""

from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

import numpy as np
import torch
from _datasets import pictures
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import models, transforms

from sktl import FineTuneClassifier, LinearProbeClassifier, PretrainedFeatureExtractor
from sktl.backbones import load_backbone
from sktl.training._schedule import n_epochs

BACKBONES = ("mobilenet_v2", "squeezenet1_1", "efficientnet_lite0")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)
LP_FT = {"epochs": 20, "batch_size": 32, "lr": 1e-3, "momentum": 0.9, "clip": 1.0}
TUTORIAL = {"epochs": 25, "batch_size": 4, "lr": 1e-3, "momentum": 0.9, "period": 7, "gamma": 0.1}
FASTAI_EPOCHS, FASTAI_BATCH = 5, 16
OURS_BATCH = 32


@dataclass
class Task:
    """Images to learn from, images to judge by, and what all roads have in common."""

    X_train: object
    y_train: np.ndarray
    X_test: object
    n_classes: int
    backbone: str
    weights: str
    image_size: int
    max_passes: int
    seed: int

    def epochs(self, wanted):
        """Return the epochs that a source wants, or as many as the budget pays."""
        return max(1, min(wanted, self.max_passes // len(self.y_train)))


@dataclass
class Outcome:
    """Probabilities of the classes, and what training took."""

    probabilities: np.ndarray
    passes: int = 0
    cut: bool = False


def frozen(task):
    """Embed by all stages, linear probe: the candidate "frozen" of compare_transfer, without a store."""
    extractor = _extractor(task, layer="all", pooling="avg+std")
    model = make_pipeline(extractor, LinearProbeClassifier()).fit(task.X_train, task.y_train)
    return Outcome(model.predict_proba(task.X_test))


def penultimate(task):
    """Embed by the top stage, standardise, logistic regression with its strength by cross-validation, as is usual."""
    folds = min(5, np.bincount(task.y_train).min())
    grid = {"logisticregression__C": np.logspace(-4, 2, 7)}
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    embeddings = [_extractor(task).fit_transform(X) for X in (task.X_train, task.X_test)]
    model = GridSearchCV(linear, grid, cv=folds) if folds > 1 else linear
    return Outcome(model.fit(embeddings[0], task.y_train).predict_proba(embeddings[1]))


def _extractor(task, **features):
    return PretrainedFeatureExtractor(
        task.backbone, weights=task.weights, image_size=task.image_size, cache=False, device="cpu", **features
    )


def ours(task):
    """Fine-tune with sktl's defaults."""
    return _fine_tuned(task, weights=task.weights)


def network_alone(task):
    """Fine-tune with sktl's defaults, and predict by the network as training leaves it."""
    return _fine_tuned(task, weights=task.weights, ensemble=False)


def from_scratch(task):
    """Train the same network from random weights, with sktl's defaults."""
    return _fine_tuned(task, weights=None)


def _fine_tuned(task, weights, **options):
    wanted = n_epochs("auto", len(task.y_train), OURS_BATCH)
    cut = task.epochs(wanted) < wanted
    model = FineTuneClassifier(
        task.backbone,
        weights=weights,
        image_size=task.image_size,
        batch_size=OURS_BATCH,
        max_epochs=task.epochs(wanted) if cut else "auto",
        random_state=task.seed,
        device="cpu",
        **options,
    )
    model.fit(task.X_train, task.y_train)
    return Outcome(model.predict_proba(task.X_test), len(model.history_) * len(task.y_train), cut)


def imagenet_network(backbone, weights, n_classes=None):
    """Load a network from a file, with a new last layer when a number of classes is given.

    In all networks that layer is ``classifier[1]``.
    """
    if backbone == "efficientnet_lite0":
        network = EfficientNetLite0()
    else:
        network = models.get_model(backbone, weights=None)
        network.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    if n_classes is not None:
        squeezed, width = backbone == "squeezenet1_1", getattr(network, "last_channel", None)
        network.classifier[1] = nn.Conv2d(512, n_classes, 1) if squeezed else nn.Linear(width, n_classes)
    return network


class EfficientNetLite0(nn.Module):
    """The network that the package index has weights of, built as torchvision builds its own."""

    last_channel = 1280

    def __init__(self):
        super().__init__()
        self.features = deepcopy(load_backbone("efficientnet_lite0").stages).requires_grad_(True)
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(self.last_channel, 1000))

    def forward(self, x):
        """Return logits."""
        return self.classifier(self.features(x).mean((2, 3)))


class Pictures(Dataset):
    """Pictures in memory, decoded once, with a transform that is drawn anew each time."""

    def __init__(self, X, y, transform):
        self.pictures, self.y, self.transform = pictures(X), y, transform

    def __len__(self):
        return len(self.pictures)

    def __getitem__(self, i):
        return self.transform(self.pictures[i]), int(self.y[i])


def _statistics(task):
    return (HALF, HALF) if task.backbone == "efficientnet_lite0" else (MEAN, STD)


def _tutorial_data(task, scale=(0.08, 1.0)):
    """Return training and test images as tutorial and notebook prepare them."""
    end = [transforms.ToTensor(), transforms.Normalize(*_statistics(task))]
    size = task.image_size
    varied = transforms.Compose(
        [transforms.RandomResizedCrop(size, scale=scale), transforms.RandomHorizontalFlip(), *end]
    )
    centred = transforms.Compose([transforms.Resize(round(size * 256 / 224)), transforms.CenterCrop(size), *end])
    nothing = np.zeros(len(task.X_test), dtype=int)
    return Pictures(task.X_train, task.y_train, varied), Pictures(task.X_test, nothing, centred)


def _shortened(task):
    """Return epochs and the period of the steps of the learning rate, in proportion when epochs are cut."""
    epochs = task.epochs(TUTORIAL["epochs"])
    return epochs, max(1, round(TUTORIAL["period"] * epochs / TUTORIAL["epochs"]))


def _tutorial_outcome(task, probabilities, epochs):
    return Outcome(probabilities, epochs * len(task.y_train), epochs < TUTORIAL["epochs"])


def torchvision_tutorial(task):
    """Train the whole network in a plain loop, as PyTorch's tutorial on transfer learning does."""
    torch.manual_seed(task.seed)
    train, test = _tutorial_data(task)
    network = imagenet_network(task.backbone, task.weights, task.n_classes)
    epochs, period = _shortened(task)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(network.parameters(), lr=TUTORIAL["lr"], momentum=TUTORIAL["momentum"])
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=period, gamma=TUTORIAL["gamma"])
    loader = DataLoader(train, batch_size=TUTORIAL["batch_size"], shuffle=True)
    network.train()
    for _ in range(epochs):
        for images, targets in loader:
            optimizer.zero_grad()
            criterion(network(images), targets).backward()
            optimizer.step()
        scheduler.step()
    network.eval()
    return _tutorial_outcome(task, _probabilities(network, test), epochs)


def _probabilities(network, test):
    with torch.inference_mode():
        outputs = torch.cat([network(images) for images, _ in DataLoader(test, batch_size=32)])
    return outputs.softmax(1).numpy()


def lp_ft(task):
    """Train a linear probe, then the whole network from it at a low rate: LP-FT, with care, in a plain loop.

    SGD at 1e-3 with momentum, a cosine, gradients clipped and norms in eval mode, after arXiv:2202.10054; without the
    clipping, grey doodles and X-rays end it near chance. The probe is a logistic regression on standardised features
    of plain images; crops are no smaller than half of an image.
    """
    torch.manual_seed(task.seed)
    train, test = _tutorial_data(task, scale=(0.5, 1.0))
    plain = Pictures(task.X_train, task.y_train, test.transform)
    network = imagenet_network(task.backbone, task.weights, task.n_classes).eval()
    take_probe(network, plain, task.y_train)
    epochs = task.epochs(LP_FT["epochs"])
    loader = DataLoader(train, batch_size=LP_FT["batch_size"], shuffle=True)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(network.parameters(), lr=LP_FT["lr"], momentum=LP_FT["momentum"])
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(loader))
    for _ in range(epochs):
        for images, targets in loader:
            optimizer.zero_grad()
            criterion(network(images), targets).backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), LP_FT["clip"])
            optimizer.step()
            scheduler.step()
    return Outcome(_probabilities(network, test), epochs * len(train), epochs < LP_FT["epochs"])


def take_probe(network, plain, y):
    """Set the last layer to a logistic regression on the features below it."""
    with torch.inference_mode():
        maps = torch.cat([network.features(images) for images, _ in DataLoader(plain, batch_size=32)])
    squeezed = isinstance(network.classifier[1], nn.Conv2d)
    features = maps.mean((2, 3)).double().numpy()
    scaler = StandardScaler().fit(features)
    probe = LogisticRegression(C=0.1, max_iter=1000).fit(scaler.transform(features), y)
    weights = probe.coef_ / scaler.scale_
    offset = probe.intercept_ - weights @ scaler.mean_
    if len(weights) == 1:
        weights, offset = np.concatenate([-weights, weights]) / 2, np.concatenate([-offset, offset]) / 2
    layer = network.classifier[1]
    layer.weight.data.copy_(torch.as_tensor(weights.reshape(layer.weight.shape)))
    layer.bias.data.copy_(torch.as_tensor(offset))
    if squeezed:  # torchvision cuts off below zero before it averages over the places, which would lose half of a probe
        network.classifier = nn.Sequential(nn.Dropout(0.5), layer, nn.AdaptiveAvgPool2d(1))


class PretrainedModel(nn.Module):
    """The module of skorch's notebook."""

    def __init__(self, backbone, weights, output_features):
        super().__init__()
        self.model = imagenet_network(backbone, weights, output_features)

    def forward(self, x):
        """Return logits."""
        return self.model(x)


def skorch_notebook(task):
    """Train the last layer alone, as skorch's notebook on transfer learning does."""
    from skorch import NeuralNetClassifier
    from skorch.callbacks import Freezer, LRScheduler

    torch.manual_seed(task.seed)
    train, test = _tutorial_data(task)
    epochs, period = _shortened(task)
    net = NeuralNetClassifier(
        PretrainedModel,
        module__backbone=task.backbone,
        module__weights=task.weights,
        module__output_features=task.n_classes,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD,
        optimizer__momentum=TUTORIAL["momentum"],
        lr=TUTORIAL["lr"],
        batch_size=TUTORIAL["batch_size"],
        max_epochs=epochs,
        iterator_train__shuffle=True,
        iterator_valid__batch_size=32,
        train_split=None,
        classes=list(range(task.n_classes)),
        callbacks=[
            LRScheduler(policy="StepLR", step_size=period, gamma=TUTORIAL["gamma"]),
            Freezer(lambda name: not name.startswith("model.classifier.1")),
        ],
        verbose=0,
        device="cpu",
    )
    net.fit(train, y=None)
    return _tutorial_outcome(task, net.predict_proba(test), epochs)


def _squeezenet_split(model):
    """Split the parameters as fastai does for a squeezenet that it loads itself: two halves of the body, the head."""
    return [list(part.parameters()) for part in (model[0][0][:5], model[0][0][5:], model[1:])]


def fastai_fine_tune(task, wanted=FASTAI_EPOCHS):
    """Run vision_learner(...).fine_tune(5) of fastai itself, with the augmentation of its book."""
    from fastai.vision import all as fastai

    fastai.set_seed(task.seed, reproducible=True)
    images = [np.asarray(picture) for X in (task.X_train, task.X_test) for picture in pictures(X)]
    n_train = len(task.y_train)
    epochs = max(1, task.epochs(1 + wanted) - 1)
    block = fastai.DataBlock(
        blocks=(fastai.ImageBlock, fastai.CategoryBlock(vocab=list(range(task.n_classes)))),
        get_x=lambda i: images[i],
        get_y=lambda i: int(task.y_train[i]),
        splitter=lambda items: (list(range(n_train)), []),
        item_tfms=fastai.RandomResizedCrop(task.image_size, min_scale=0.5),
        batch_tfms=[*fastai.aug_transforms(), fastai.Normalize.from_stats(*_statistics(task))],
    )
    loaders = block.dataloaders(
        list(range(n_train)), bs=FASTAI_BATCH, num_workers=0, device=torch.device("cpu"), verbose=False
    )

    def arch(pretrained=True):
        # fastai cuts at the last pooling, which must be a module for it to be found; it does not hand cut= on.
        network = imagenet_network(task.backbone, task.weights)
        return nn.Sequential(network.features, nn.AdaptiveAvgPool2d(1))

    squeezed = task.backbone == "squeezenet1_1"
    learner = fastai.vision_learner(loaders, arch, splitter=_squeezenet_split if squeezed else None)
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(epochs)
        unlabelled = learner.dls.test_dl(list(range(n_train, len(images))), num_workers=0)
        outputs, _ = learner.get_preds(dl=unlabelled)
    return Outcome(outputs.numpy(), (1 + epochs) * n_train, epochs < wanted)


OURS = "sktl"
ROADS = {
    "penultimate": ("penultimate + logistic", penultimate),
    "frozen": ("frozen + probe", frozen),
    "sktl": (OURS, ours),
    "alone": ("sktl, network alone", network_alone),
    "lp_ft": ("LP-FT by hand", lp_ft),
    "fastai": ("fastai fine_tune", fastai_fine_tune),
    "fastai10": ("fastai, 10 epochs", partial(fastai_fine_tune, wanted=2 * FASTAI_EPOCHS)),
    "skorch": ("skorch notebook", skorch_notebook),
    "torchvision": ("torchvision tutorial", torchvision_tutorial),
    "scratch": ("from scratch", from_scratch),
}


def has_fastai():
    """Return whether fastai is installed beside this Python."""
    return find_spec("fastai") is not None
