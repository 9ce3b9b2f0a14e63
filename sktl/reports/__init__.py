"""Results in words, tables and pages: a result is summed up once, and the summary is written in every form."""

from sktl.reports._comparison_summary import summarize as summarize_comparison
from sktl.reports._label_efficiency_summary import summarize as summarize_label_efficiency
from sktl.reports._near_copies import near_copies, said_of_copies, where
from sktl.reports._ranking_report import write_report as write_ranking_report
from sktl.reports._ranking_summary import summarize as summarize_ranking
from sktl.reports._report import write_report
from sktl.reports._strategy_summary import summarize as summarize_strategies

__all__ = [
    "near_copies",
    "said_of_copies",
    "summarize_comparison",
    "summarize_label_efficiency",
    "summarize_ranking",
    "summarize_strategies",
    "where",
    "write_ranking_report",
    "write_report",
]
