"""How Sphinx builds these pages: ``make docs`` writes them to out/docs."""

import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import gallery  # noqa: E402
import inventories  # noqa: E402
import names  # noqa: E402
import notebooks  # noqa: E402

from sktl import __version__  # noqa: E402
from sktl._pages import SITE, PageMixin  # noqa: E402

OUT = HERE.parent / "out"

project = "sktl"
author = "The sktl developers"
copyright = "The sktl developers"
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.extlinks",
    "sphinx.ext.intersphinx",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".rst": "restructuredtext", ".md": "markdown", ".ipynb": "markdown"}
templates_path = ["_templates"]
exclude_patterns = ["auto_examples/*.ipynb", "auto_examples/*.py"]
nitpicky = True
nitpick_ignore = [("py:mod", "sktl.training.callbacks")]  # a heading of api.md
nitpick_ignore_regex = [("py:.*", r"sklearn\..*")]  # what scikit-learn writes about the methods that it gives
default_role = "literal"  # the docstrings write `name`

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# The docstrings write :doi: and :arxiv:, as scikit-learn's do.
extlinks = {"doi": ("https://doi.org/%s", "doi:%s"), "arxiv": ("https://arxiv.org/abs/%s", "arXiv:%s")}

intersphinx_mapping = inventories.write(OUT / "inventories")
intersphinx_timeout = 5

# One page for each public name, api/NAME.html: HTML boxes of estimators link to it, wherever the name lives.
autosummary_filename_map = {full_name: name for name, full_name in names.NAMES.items()}
autodoc_typehints = "none"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_xref_param_type = True
numpydoc_xref_ignore = "all"  # but for what is known
numpydoc_xref_aliases = {**names.NAMES, **inventories.TYPES}
toc_object_entries_show_parents = "hide"

sphinx_gallery_conf = {
    "examples_dirs": str(gallery.copied(OUT / "examples")),
    "gallery_dirs": "auto_examples",
    "backreferences_dir": "auto_examples/backreferences",
    "doc_module": ("sktl",),
    "reset_modules": ("matplotlib", "gallery.warnings_are_errors"),
    "reset_modules_order": "both",
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
    "min_reported_time": 1,
}

html_theme = "pydata_sphinx_theme"
html_title = "sktl"
html_baseurl = SITE
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = [("copy.js", {"defer": "defer"})]
html_copy_source = html_show_sourcelink = False
html_sidebars = {"index": [], "benchmarks": [], "api": ["rooms"], "api/*": ["rooms"]}
html_context = {"rooms": names.ROOMS}
html_theme_options = {
    "logo": {"text": "sktl"},
    "header_links_before_dropdown": 6,
    "navigation_with_keys": False,
    "show_nav_level": 1,
    "show_prev_next": False,
    "footer_start": ["copyright"],
    "footer_end": [],
}


def copy_report(app, error):
    """Show the report that an example has made."""
    if error is None and app.builder.format == "html":
        shutil.copy(OUT / "examples" / "report.html", Path(app.outdir) / "report.html")


def setup(app):
    """Boxes in these pages link to these pages, wherever they will be."""
    PageMixin._doc_link_template = "../api/{estimator_name}.html"
    app.add_transform(names.LinkNames)
    app.connect("source-read", notebooks.as_page)
    app.connect("autodoc-skip-member", names.own_members)
    app.connect("missing-reference", names.resolve_short_names)
    app.connect("build-finished", copy_report)
