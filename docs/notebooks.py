"""Notebooks as pages: their text and code, and the file itself."""

import json
from pathlib import Path


def as_page(app, docname, source):
    """Turn the notebook that a page is read from into MyST; its cells are stored without outputs."""
    path = Path(app.env.doc2path(docname))
    if path.suffix == ".ipynb":
        title, *cells = map(_as_markdown, json.loads(source[0])["cells"])
        source[0] = "\n\n".join([title, f"To run it: {{download}}`{path.name}`.", *cells])


def _as_markdown(cell):
    text = "".join(cell["source"])
    return text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"
