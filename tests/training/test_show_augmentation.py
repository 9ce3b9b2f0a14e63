"""The picture shows what the network sees."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from torchvision.transforms import v2

from sktl.backbones import load_backbone
from sktl.images import as_images
from sktl.training._show_augmentation import show_augmentation
from sktl.training._views import AugmentedImages


def make(n_images=6, size=(30, 40), seed=0, dtype=np.uint8):
    pixels = np.random.default_rng(seed).integers(0, 256, (n_images, *size, 3)).astype(np.uint8)
    return pixels if dtype == np.uint8 else (pixels / 255).astype(dtype)


@pytest.fixture
def close_figures():
    yield
    plt.close("all")


@pytest.mark.usefixtures("close_figures")
class TestShowAugmentation:
    def test_a_row_for_each_image_with_the_plain_one_first(self):
        pixels = make(10)
        ax = show_augmentation(pixels, "light", image_size=32, n_views=3)
        assert [label.get_text() for label in ax.get_xticklabels()] == ["plain", "view 1", "view 2", "view 3"]
        assert len(ax.get_yticklabels()) == 8
        assert ax.get_title() == "augment='light', 32 × 32 pixels"
        sheet = ax.images[0].get_array()
        preprocessing = load_backbone("tiny_fractal").preprocessing.resized(32)
        step = 32 + 2
        assert sheet.shape == (8 * step - 2, 4 * step - 2, 3)
        for i in (0, 7):
            for view in (0, 3):
                tile = sheet[i * step : i * step + 32, view * step : view * step + 32]
                assert_array_equal(tile, AugmentedImages(as_images(pixels), preprocessing, "light", view)[i])
        ax.figure.canvas.draw()

    def test_it_draws_where_it_is_told_to(self):
        figure, axes = plt.subplots(1, 2)
        for ax, augment in zip(axes, ("trivial", v2.Compose([v2.RandomResizedCrop(20)])), strict=True):
            assert show_augmentation(make(1, dtype=np.float32), augment, n_views=1, ax=ax) is ax
        assert axes[1].get_title().startswith("augment='Compose'")
        assert plt.get_fignums() == [figure.number]

    def test_numbers_are_scaled_by_their_own_range(self):
        pixels = make(2).astype(np.int64) * 16
        shown = show_augmentation(pixels, None, n_views=1).images[0].get_array()
        assert np.ptp(shown) > 200

    def test_what_is_wrong_is_said(self):
        with pytest.raises(ValueError, match="augment must be"):
            show_augmentation(make(1), "heavy")
        with pytest.raises(ValueError, match="n_views must be"):
            show_augmentation(make(1), n_views=0)

    def test_without_matplotlib_the_message_says_what_to_install(self, monkeypatch):
        def missing(name):
            raise ModuleNotFoundError(f"No module named {name!r}", name="matplotlib")

        monkeypatch.setattr("sktl._optional.import_module", missing)
        with pytest.raises(ImportError, match=r"sktl\[plot\]"):
            show_augmentation(make(1))
