import pytest

from sktl.backbones import _loading


@pytest.fixture(autouse=True)
def forget_networks():
    """Free the networks that a test has loaded, and let each test load its own."""
    yield
    _loading._loaded.clear()
