"""Calibration beyond torch's: observers whose histogram merges exactly, and what to choose on it; moving averages per group.

`exact_histogram`, then `clipping` (percentiles), `entropy` and `mse`; `group`.
"""

from .clipping import PercentileObserver as PercentileObserver
from .clipping import PerChannelHistogramObserver as PerChannelHistogramObserver
from .entropy import EntropyObserver as EntropyObserver
from .exact_histogram import ExactHistogramObserver as ExactHistogramObserver
from .group import MovingAveragePerGroupMinMaxObserver as MovingAveragePerGroupMinMaxObserver
from .mse import MSEObserver as MSEObserver
