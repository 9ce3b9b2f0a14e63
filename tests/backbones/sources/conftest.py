import sys
from pathlib import Path

import pytest


@pytest.fixture(autouse=True, scope="session")
def quiet_transformers():
    """Let transformers draw no bars while tests write its files."""
    if "transformers" in sys.modules:
        sys.modules["transformers"].logging.disable_progress_bar()


sys.path.insert(0, str(Path(__file__).parent))
