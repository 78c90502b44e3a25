"""Observers watch data pass by, and remember what is needed to choose a scale and a zero point.

`base` says what an observer is; then one file per family: `minmax`, `moving_average`, `histogram`, and `placeholder`,
whose members choose nothing. `nanoquant.calibration` has more.
"""

from ..qparams import AbsMaxRule as AbsMaxRule
from .base import NotCalibratedError as NotCalibratedError, Observer as Observer, Partial as Partial
from .histogram import HistogramObserver as HistogramObserver
from .minmax import MinMaxObserver as MinMaxObserver, PerChannelMinMaxObserver as PerChannelMinMaxObserver
from .minmax import PerGroupMinMaxObserver as PerGroupMinMaxObserver, PerTokenMinMaxObserver as PerTokenMinMaxObserver
from .moving_average import MovingAverageAbsMaxObserver as MovingAverageAbsMaxObserver
from .moving_average import MovingAverageMinMaxObserver as MovingAverageMinMaxObserver
from .moving_average import MovingAveragePerChannelMinMaxObserver as MovingAveragePerChannelMinMaxObserver
from .placeholder import FixedQParamsObserver as FixedQParamsObserver, NoopObserver as NoopObserver
from .placeholder import PlaceholderObserver as PlaceholderObserver, RecordingObserver as RecordingObserver
from .placeholder import ReuseInputObserver as ReuseInputObserver
