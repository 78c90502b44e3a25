"""Calibration beyond torch's: observers whose histogram merges exactly, and what to choose on it.

`exact_histogram`, then `clipping` (percentiles), `entropy` and `mse`.
"""

from .clipping import PercentileObserver as PercentileObserver
from .clipping import PerChannelHistogramObserver as PerChannelHistogramObserver
from .entropy import EntropyObserver as EntropyObserver
from .exact_histogram import ExactHistogramObserver as ExactHistogramObserver
from .mse import MSEObserver as MSEObserver
