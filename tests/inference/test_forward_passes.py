from concurrent.futures import ThreadPoolExecutor
from threading import Thread

import numpy as np

from sktl import FineTuneClassifier, PretrainedFeatureExtractor
from sktl.inference import activation_shape, embedding_widths
from sktl.inference.forward_passes import counted_forward_passes

IMAGES = np.random.default_rng(0).integers(256, size=(10, 16, 16, 3), dtype=np.uint8)


def extractor(**options):
    return PretrainedFeatureExtractor(cache=False, **options).fit(IMAGES)


def test_every_image_that_goes_through_a_network_is_counted_and_trial_images_are_not():
    features = extractor()
    with counted_forward_passes() as counter:
        extractor(image_size=48)  # tries whether the network takes images of this size
        preprocessing = features.backbone_.preprocessing.resized(56)
        embedding_widths(features.backbone_, ["penultimate"], "auto", preprocessing)
        activation_shape(features.backbone_, 2, "flatten", preprocessing)
        assert counter.n_images == 0
        features.transform(IMAGES)
        features.transform(IMAGES[:3])
    features.transform(IMAGES)
    assert counter.n_images == 13


def test_a_training_counts_its_steps():
    model = FineTuneClassifier(weights=None, max_epochs=2, augment=None, cache=False)
    with counted_forward_passes() as counter:
        model.fit(IMAGES, np.arange(10) % 2)
    assert counter.n_images == 2 * 10


def test_threads_with_counters_of_their_own_count_apart():
    features = extractor()

    def count(n_images):
        with counted_forward_passes() as counter:
            features.transform(IMAGES[:n_images])
        return counter.n_images

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(count, range(1, 9))) == list(range(1, 9))


def test_images_of_a_thread_without_a_counter_make_the_number_unknown():
    features = extractor()
    with counted_forward_passes() as counter:
        features.transform(IMAGES)
        thread = Thread(target=features.transform, args=(IMAGES,))
        thread.start()
        thread.join()
        features.transform(IMAGES)
    assert counter.n_images is None


def test_a_counter_inside_another_counts_for_itself():
    features = extractor()
    with counted_forward_passes() as outer:
        with counted_forward_passes() as inner:
            features.transform(IMAGES)
        features.transform(IMAGES[:2])
    assert (outer.n_images, inner.n_images) == (2, 10)
