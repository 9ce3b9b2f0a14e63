"""Activations of the frozen part: computed once per image, kept in memory or in the store, used in every epoch."""

import math
from copy import deepcopy
from dataclasses import replace
from functools import partial

import torch

from sktl.backbones import tensor_digest
from sktl.inference import (
    activation_shape,
    block_rows,
    check_finite_numbers,
    embed,
    map_images,
    read_prepared,
    run_in_blocks,
    short_blocks,
)
from sktl.training._stage_probe import frozen_features
from sktl.training._views import AugmentedImages, can_be_stored, prepared_already

# Activations of the training set are kept in memory up to _MEMORY bytes, and in the store up to a share of its size:
# reading them in every epoch must not evict those that are read next. Activations of images to predict, which may never
# be asked for again, have a smaller share.
_MEMORY, _SHARE_OF_STORE, _SHARE_OF_PREDICTION = 2 << 30, 0.5, 0.1
_VIEWS, _FEWEST_VIEWS = 8, 2  # more than 8 gained nothing; one view is as easily learnt by heart as a plain image
_SHARE_OF_DEVICE = 0.5  # of what is free there: the training wants the rest
_AT_A_TIME = 256 << 20  # bytes of activations that prediction holds
_BYTES = 4  # of a float32


class FrozenPart:
    """The function from images to activations at the split point.

    It embeds images as a PretrainedFeatureExtractor does: with the same fast copies of the stages, blocks and store.
    With every stage frozen an activation is the pooled embedding itself; with none frozen, the prepared image.
    """

    def __init__(self, network, backbone, placement, *, store, info, batch_size, n_jobs):
        self._network = network
        self._backbone = backbone
        self._placement = placement
        self._store = store
        self._info = info
        self._read = {"batch_size": batch_size, "n_jobs": n_jobs}
        self._pooling = "auto" if network.n_frozen == len(network.stages) else "flatten"
        size = network.preprocessing.crop_size
        if network.n_frozen == 0:
            self.shape = (3, size, size)
        else:
            self.shape = activation_shape(backbone, network.n_frozen, self._pooling, network.preprocessing)
        self.n_bytes = _BYTES * math.prod(self.shape)

    def bytes_per_image(self, images):
        """Return the bytes of the first image: with nothing frozen its pixels may be bytes."""
        if self._network.n_frozen:
            return self.n_bytes
        first = next(iter(read_prepared(images.subset([0]), self._network.preprocessing, batch_size=1)))
        return first.numel() * first.element_size()

    def may_store(self, n_images, share=_SHARE_OF_STORE):
        """Whether the activations of so many images leave room in the store for others."""
        if self._store is None or self._network.n_frozen == 0:
            return False
        return n_images * self.n_bytes <= share * self._store.max_bytes

    def home(self, n_bytes):
        """Return where so many bytes of activations are kept: on a CUDA device with room for them, or on the CPU."""
        device = self._placement.device
        has_room = device.type == "cuda" and n_bytes <= _SHARE_OF_DEVICE * torch.cuda.mem_get_info(device)[0]
        return device if has_room else torch.device("cpu")

    def __call__(self, images, preprocessing=None, **how):
        """Return activations (n_images, ...) of float32, or prepared images, of bytes where all are bytes."""
        if self._network.n_frozen == 0:
            preprocessing = preprocessing or self._network.preprocessing
            return _concatenated(list(read_prepared(images, preprocessing, **self._read)))
        return self._embedded(images, preprocessing, (self._network.n_frozen,), self._pooling, **how).unflatten(
            1, self.shape
        )

    def vectors(self, images, preprocessing=None, **how):
        """Return what `FineTuneNetwork.outputs` takes: with a probe, statistics of the stages before activations."""
        if not self._has_statistics():
            return self(images, preprocessing, **how)
        network = self._network
        return self._embedded(images, preprocessing, *frozen_features(network.n_frozen, len(network.stages)), **how)

    def activations(self, vectors):
        """Return the activations among vectors."""
        return self._network.probe.activations(vectors) if self._has_statistics() else vectors

    def _has_statistics(self):
        return self._network.probe is not None and self._network.n_frozen > 0

    def _embedded(self, images, preprocessing, cuts, pooling, *, use_store=True, keep=True, verbose=0):
        embeddings, _ = embed(
            images,
            self._backbone,
            preprocessing or self._network.preprocessing,
            self._placement,
            layers=tuple(self._backbone.stage_names[cut - 1] for cut in cuts),
            pooling=pooling,
            store=self._store if use_store else None,
            info=self._info,
            keep=keep,
            verbose=verbose,
            **self._read,
        )
        return torch.from_numpy(embeddings)

    def predict(self, images, preprocessing=None, *, verbose=0):
        """Return the outputs (n_images, n_outputs) of the whole network, of any number of images."""
        keep = self._info.keeps(len(images))
        share, read = _SHARE_OF_PREDICTION, partial(self.vectors, keep=keep, verbose=verbose)
        return self._through(self._network.outputs, read, images, preprocessing, share, verbose)

    def features(self, images, preprocessing=None):
        """Return the pooled features (n_images, n_features) of training images."""

        def features(vectors):
            return self._network.features(vectors if is_view else self.activations(vectors))

        is_view = preprocessing is not None  # of which training asks for activations alone
        read = self if is_view else self.vectors
        if self._network.n_frozen == len(self._network.stages):  # what comes from below the cut
            return features(read(images, preprocessing, use_store=self.may_store(len(images))))
        return self._through(features, read, images, preprocessing, _SHARE_OF_STORE, verbose=0)

    def _through(self, above_cut, read, images, preprocessing, share, verbose):
        """Return a function of what is read of some images at a time."""
        network, preprocessing = self._network, preprocessing or self._network.preprocessing
        what = (above_cut.__name__, network.n_frozen, network.probe is None)
        key = (self._backbone.digest, *what, self._placement, preprocessing.crop_size)
        rows = block_rows(preprocessing.crop_size, self._placement.device, self._read["batch_size"])
        short = short_blocks(len(images), rows, self._placement, network, *what)
        if network.n_frozen == 0:
            outputs = map_images(
                lambda batch: above_cut(network.below_cut(batch)),
                images,
                preprocessing,
                self._placement,
                verbose=verbose,
                key=key,
                short=short,
                **self._read,
            )
            return self._checked(torch.cat(list(outputs)), above_cut, images)
        use_store, outputs = self.may_store(len(images), share), []
        n_together = max(_AT_A_TIME // self.n_bytes, rows)
        for start in range(0, len(images), n_together):
            part = images.subset(slice(start, start + n_together))
            vectors = read(part, preprocessing, use_store=use_store)
            outputs.append(run_in_blocks(above_cut, vectors, self._placement, rows, key=key, short=short))
        return self._checked(torch.cat(outputs), above_cut, images)

    def _checked(self, outputs, above_cut, images):
        check_finite_numbers(outputs, above_cut.__name__, images, range(len(images)))
        return outputs


class Activations:
    """Activations of the training images at the split point, for any selection of them.

    Kept, stored or computed again, they are the same bits.
    """

    def __init__(self, frozen_part, images, preprocessing, *, augment=None, n_views=None, verbose=0, memory=_MEMORY):
        self._frozen_part = frozen_part
        self._images = images
        self._preprocessing = preprocessing
        self._augment = augment
        n_bytes = len(images) * (frozen_part.n_bytes if callable(augment) else frozen_part.bytes_per_image(images))
        if n_views == "auto":
            n_views = min(max(memory // n_bytes - 1, _FEWEST_VIEWS), _VIEWS)
        self._n_views = n_views
        # Memory takes the plain images and all views, or nothing. The store takes plain images wherever there is room
        # for them, and views only where they come back (their number is fixed), are found again (what the augmentation
        # does is known, see `can_be_stored`) and there is room for all of them.
        n_sets = 1 if augment is None else 1 + (n_views or 0)
        self._store_plain = frozen_part.may_store(len(images))
        self._store_views = (
            n_views is not None and can_be_stored(augment) and frozen_part.may_store(len(images) * n_sets)
        )
        n_bytes *= n_sets
        self._keep = n_bytes <= memory
        self._home = frozen_part.home(n_bytes) if self._keep else None
        self._kept = {}
        self._verbose = verbose
        if verbose and not self._keep:
            where = "read from the store" if self._use_store(1 if augment else 0) else "computed"
            print(
                f"sktl: activations at the split point are {where} in every epoch: keeping them in memory would take "
                f"{n_bytes / 2**30:.1f} GiB"
            )

    def __len__(self):
        return len(self._images)

    def __getitem__(self, indices):
        """Return the activations of the plain images at an array of positions."""
        return self.view(indices, 0)

    def describe(self, i):
        """Name image i for a message."""
        return self._images.describe(i)

    def of(self, images):
        """Return the activations of other images, as they are in prediction."""
        return Activations(self._frozen_part, images, self._preprocessing)

    def view(self, indices, number):
        """Return the activations of one view of the images at an array of positions; number 0 is the plain image."""
        number = self._number(number)
        if number == 0:
            return self._frozen_part.activations(self.vectors(indices))
        if self._keep and self._n_views is not None:
            return self._all(number)[torch.as_tensor(indices)]
        images, preprocessing = self._view(self._images.subset(indices), number)
        return self._frozen_part(images, preprocessing, use_store=self._use_store(number))

    def vectors(self, indices):
        """Return what `FineTuneNetwork.outputs` takes, of the plain images at an array of positions."""
        if self._keep:
            return self._all(0)[torch.as_tensor(indices)]
        return self._frozen_part.vectors(
            self._images.subset(indices), self._preprocessing, use_store=self._use_store(0)
        )

    def plan(self, n_epochs):
        """Return how many views of each image are computed in so many epochs, and whether the store keeps them."""
        n_views = 1 if self._augment is None else self._n_views
        is_stored = self._use_store(0 if self._augment is None else 1)
        is_there_again = n_views is not None and (self._keep or is_stored)
        return min(n_views, n_epochs) if is_there_again else n_epochs, is_stored

    def _all(self, number):
        if number not in self._kept:
            images, preprocessing = self._view(self._images, number)
            use_store = self._use_store(number)
            compute = self._frozen_part if number else self._frozen_part.vectors
            computed = compute(images, preprocessing, use_store=use_store, verbose=self._verbose)
            self._kept[number] = computed.to(self._home)
        return self._kept[number]

    def _use_store(self, number):
        return self._store_views if number else self._store_plain

    def _number(self, number):
        if self._augment is None or number == 0:
            return 0
        return number if self._n_views is None else 1 + (number - 1) % self._n_views

    def _view(self, images, number):
        if number == 0:
            return images, self._preprocessing
        images = AugmentedImages(images, self._preprocessing, self._augment, number)
        return images, prepared_already(self._preprocessing)


def frozen_record(network, backbone):
    """Return a record of the frozen part of a fitted network, when that is not the one that `backbone` holds."""
    stages = deepcopy(network.frozen_stages).cpu()
    digest = tensor_digest(backbone.name, stages=stages)
    return replace(backbone, stages=stages, head=None, digest=digest, reload=None)


def _concatenated(batches):
    if len({batch.dtype for batch in batches}) > 1:
        batches = [batch / 255 if batch.dtype == torch.uint8 else batch for batch in batches]
    return torch.cat(batches)
