"""Where the documentation is, and the links of the HTML boxes of estimators to it."""

SITE = "https://sktl.readthedocs.io/stable/"


class PageMixin:
    """Abstract: links the HTML box of a public estimator to its page; scikit-learn reads the two attributes."""

    _doc_link_module = "sktl"
    _doc_link_template = f"{SITE}api/{{estimator_name}}.html"
