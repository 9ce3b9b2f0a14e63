import inspect
from pathlib import Path

import numpy as np
import pytest
import torch

from sktl import PretrainedFeatureExtractor
from sktl.backbones import POOLINGS, pool

GUIDE = Path(__file__).parents[2] / "docs" / "user_guide"


@pytest.fixture
def maps():
    return torch.randn(3, 5, 4, 6, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def tokens():
    return torch.randn(3, 10, 5, generator=torch.Generator().manual_seed(1))


def by_numpy(values, how):
    """Pool (n, channels, places) in float64, written after the papers."""
    values = values.astype(np.float64)
    mean, largest = values.mean(2), values.max(2)
    return {
        "avg": mean,
        "max": largest,
        "avg+max": np.hstack([mean, largest]),
        "avg+std": np.hstack([mean, np.sqrt(((values - mean[:, :, None]) ** 2).mean(2))]),
        "gem": np.cbrt((np.maximum(values, 1e-6) ** 3).mean(2)),
    }[how]


@pytest.mark.parametrize("how", ["avg", "max", "avg+max", "avg+std", "gem"])
def test_statistics_over_places_agree_with_numpy(how, maps, tokens):
    np.testing.assert_allclose(pool(maps, how), by_numpy(maps.flatten(2).numpy(), how), rtol=1e-5, atol=1e-6)
    patches = tokens[:, 1:].transpose(1, 2).numpy()
    np.testing.assert_allclose(pool(tokens, how), by_numpy(patches, how), rtol=1e-5, atol=1e-6)


def test_pyramid_is_the_whole_and_its_quarters(maps):
    pooled = pool(maps, "pyramid")
    assert pooled.shape == (3, 25)
    expected = maps.mean((2, 3))
    torch.testing.assert_close(pooled[:, :5], expected)
    # Quarters follow channel by channel, each from the top left to the bottom right.
    torch.testing.assert_close(pooled[:, 5], maps[:, 0, :2, :3].mean((1, 2)))
    torch.testing.assert_close(pooled[:, -1], maps[:, 4, 2:, 3:].mean((1, 2)))


def test_pyramid_of_tokens_uses_their_square_grid(tokens):
    as_maps = tokens[:, 1:].transpose(1, 2).reshape(3, 5, 3, 3)
    torch.testing.assert_close(pool(tokens, "pyramid"), pool(as_maps, "pyramid"))
    with pytest.raises(ValueError, match=r"square grid of tokens\. Got 8 patch tokens"):
        pool(tokens[:, :9], "pyramid")


def test_flatten_keeps_every_value(maps, tokens):
    assert torch.equal(pool(maps, "flatten"), maps.reshape(3, -1))
    assert torch.equal(pool(tokens, "flatten"), tokens.reshape(3, -1))


def test_auto_is_what_the_network_does(maps, tokens):
    assert torch.equal(pool(maps, "auto"), pool(maps, "avg"))
    assert torch.equal(pool(tokens, "auto", "token"), tokens[:, 0])
    assert torch.equal(pool(tokens, "auto", "avg"), pool(tokens, "avg"))


@pytest.mark.parametrize("how", POOLINGS)
def test_vectors_are_taken_as_they_are(how):
    vectors = torch.randn(3, 7)
    assert pool(vectors, how) is vectors


@pytest.mark.parametrize("how", [name for name in POOLINGS if name != "token"])
def test_memory_format_does_not_matter(how, maps):
    maps = maps[:, :, :, :4]
    torch.testing.assert_close(pool(maps.contiguous(memory_format=torch.channels_last), how), pool(maps, how))


def test_maps_have_no_class_token(maps):
    with pytest.raises(ValueError, match="needs a network with a class token"):
        pool(maps, "token")


def test_unknown_names_are_answered(maps):
    with pytest.raises(ValueError, match=r"pooling must be one of .* Got 'meen' instead"):
        pool(maps, "meen")
    with pytest.raises(ValueError, match="Did you mean 'avg'"):
        pool(maps, "agv")
    with pytest.raises(ValueError, match="Got 5 dimensions"):
        pool(maps[None])


@pytest.mark.parametrize("how", POOLINGS)
def test_every_pooling_is_documented(how):
    assert f'\n    "{how}" ' in inspect.cleandoc(pool.__doc__)  # as Python 3.13 keeps it anyway
    assert f'``"{how}"``' in PretrainedFeatureExtractor.__doc__
    assert f'`"{how}"`' in (GUIDE / "feature_extraction.md").read_text(encoding="utf-8")
    assert f"`{how}`" in (GUIDE / "command_line.md").read_text(encoding="utf-8")
