"""How Sphinx builds these pages: ``make docs`` writes them to out/docs."""

from sktl import __version__

project = "sktl"
author = "The sktl developers"
copyright = "The sktl developers"
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc", "sphinx.ext.extlinks"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

# The docstrings write :doi: and :arxiv:, as scikit-learn's do.
extlinks = {"doi": ("https://doi.org/%s", "doi:%s"), "arxiv": ("https://arxiv.org/abs/%s", "arXiv:%s")}

# Members are listed by hand in api.md, where one page is short enough to read.
numpydoc_show_class_members = False
autodoc_typehints = "none"
autodoc_member_order = "bysource"

html_theme = "alabaster"
html_theme_options = {
    "description": "Pretrained image networks in scikit-learn, and whether they paid",
    "page_width": "64em",
    "fixed_sidebar": True,
}
html_copy_source = False
