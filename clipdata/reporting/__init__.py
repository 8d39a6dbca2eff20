"""Reports: what a table, a comparison and a run say, as records, and one HTML file that is a view of them.

records.py             what a report holds; JSON and page are views of it; picture_records, run_records, table_records
gathering.py           `report`: which sections there are, by what was given
table_section.py       what the table holds, what was refused, what made its columns
comparison_section.py  before and after: figures, distributions, groups
picture_rows.py        the rows to look at, with their pictures
run_section.py         the training: curves, settings, what it cost elsewhere
thumbnails.py          pictures of rows, small, within a bound of bytes
wording.py             figures as they stand in the page
views.py               sections as templates show them: figures as text, charts, cards
result.py              Report: page, JSON, file
cards.py               a picture with its text and values, as HTML
rendering.py           templates, in which every text is escaped
page.py                the whole page
templates/             HTML and CSS

Nothing here writes to a table or loads a model, and the page asks for nothing: no script, no font, no address.
"""

from __future__ import annotations

from clipdata.reporting.gathering import report
from clipdata.reporting.result import Report, report_schema

__all__ = ["Report", "report", "report_schema"]
