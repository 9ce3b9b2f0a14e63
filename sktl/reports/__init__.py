"""Results in words, tables and pages: text, HTML, and a report in one file."""

from sktl.reports._label_efficiency_text import as_html as label_efficiency_as_html
from sktl.reports._label_efficiency_text import as_text as label_efficiency_as_text
from sktl.reports._report import write_report
from sktl.reports._text_report import as_html, as_text, sentence, small_print, tables

__all__ = [
    "as_html",
    "as_text",
    "label_efficiency_as_html",
    "label_efficiency_as_text",
    "sentence",
    "small_print",
    "tables",
    "write_report",
]
