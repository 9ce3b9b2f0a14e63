"""Frozen pipelines go through skops, which reads nothing but the types that the guide names."""

import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from sktl import PretrainedFeatureExtractor

skops = pytest.importorskip("skops.io", reason="skops is not installed")

PAGE = Path(__file__).parents[2] / "docs" / "user_guide" / "serving.md"
PICTURES = np.random.default_rng(0).integers(0, 256, (12, 20, 24, 3), dtype=np.uint8)
LABELS = np.arange(12) % 3


@pytest.mark.parametrize("parameters", [{}, {"layer": "all", "pooling": "avg+std", "image_size": 32}])
def test_a_pipeline_that_is_read_again_predicts_the_same(parameters):
    model = make_pipeline(PretrainedFeatureExtractor(**parameters), StandardScaler(), LogisticRegression())
    written = skops.dumps(model.fit(PICTURES, LABELS))
    trusted = re.findall(r'"((?:sktl|functools)\.[\w.]+)",', PAGE.read_text(encoding="utf-8"))
    assert set(skops.get_untrusted_types(data=written)) <= set(trusted)
    again = skops.loads(written, trusted=trusted)
    np.testing.assert_array_equal(again.predict_proba(PICTURES), model.predict_proba(PICTURES))
    assert again[0].backbone_.digest == model[0].backbone_.digest


def test_a_network_that_is_nowhere_else_is_an_error_that_says_so():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3))
    extractor = PretrainedFeatureExtractor(network, image_size=12, cache=False).fit(PICTURES)
    with pytest.raises(TypeError, match=r"a network must be known by name.*nowhere else, instead. save_model"):
        extractor.backbone_.__getstate__()
