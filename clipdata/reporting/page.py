"""The page: a view of a report's records, by templates. It computes nothing and reads nothing but them."""

from __future__ import annotations

from clipdata.reporting.records import Reported
from clipdata.reporting.rendering import page_style, rendered
from clipdata.reporting.views import comparison_view, lineage_view, run_view, table_view


def page(report: Reported) -> str:
    """The whole page as HTML."""
    compared, run, table = report.comparison, report.run, report.table
    return str(
        rendered(
            "report.html",
            report=report,
            style=page_style(),
            comparison=comparison_view(compared) if compared is not None else None,
            run=run_view(run) if run is not None else None,
            table=table_view(table) if table is not None else None,
            lineage=lineage_view(table) if table is not None and table.made else None,
        )
    )
