"""Charts as inline SVG: plain data in, markup out, for a run's folder, a report, a notebook or a page that is served.

axes.py        ticks, scales, and the room that a chart has
line_chart.py  curves over steps
histogram.py   how values are distributed, one side over the other; a small one for a line of a table
intervals.py   a change with its interval on a scale that others share; a bar for a count
calibration.py what was said against what came true

No chart needs a script. Colours are CSS variables (`charts.css`, given by `style()`), so that light, dark and print are
the page's to choose. Everything is escaped. The package knows numbers and names, and nothing of what they mean.
"""

from clipdata.charts.axes import style, ticks
from clipdata.charts.calibration import calibration_chart
from clipdata.charts.histogram import Bars, histogram, small_histogram
from clipdata.charts.intervals import count_bar, interval_bar, interval_scale
from clipdata.charts.line_chart import Curve, Panel, legend, line_chart, svg

__all__ = [
    "Bars",
    "Curve",
    "Panel",
    "calibration_chart",
    "count_bar",
    "histogram",
    "interval_bar",
    "interval_scale",
    "legend",
    "line_chart",
    "small_histogram",
    "style",
    "svg",
    "ticks",
]
