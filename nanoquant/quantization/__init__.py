"""Quantization of networks: torch.ao.quantization's names, in one place.

In reading order: observers (re-exported), fake-quantizers, qconfigs, stubs, fusion, and the eager workflow.
"""

from ..calibration import EntropyObserver as EntropyObserver
from ..calibration import ExactHistogramObserver as ExactHistogramObserver
from ..calibration import MSEObserver as MSEObserver
from ..calibration import PercentileObserver as PercentileObserver
from ..calibration import PerChannelHistogramObserver as PerChannelHistogramObserver
from ..observers import AbsMaxRule as AbsMaxRule
from ..observers import FixedQParamsObserver as FixedQParamsObserver
from ..observers import HistogramObserver as HistogramObserver
from ..observers import MinMaxObserver as MinMaxObserver
from ..observers import MovingAverageAbsMaxObserver as MovingAverageAbsMaxObserver
from ..observers import MovingAverageMinMaxObserver as MovingAverageMinMaxObserver
from ..observers import MovingAveragePerChannelMinMaxObserver as MovingAveragePerChannelMinMaxObserver
from ..observers import NoopObserver as NoopObserver
from ..observers import NotCalibratedError as NotCalibratedError
from ..observers import PerChannelMinMaxObserver as PerChannelMinMaxObserver
from ..observers import PerGroupMinMaxObserver as PerGroupMinMaxObserver
from ..observers import PerTokenMinMaxObserver as PerTokenMinMaxObserver
from ..observers import PlaceholderObserver as PlaceholderObserver
from ..observers import RecordingObserver as RecordingObserver
from ..observers import ReuseInputObserver as ReuseInputObserver
from .calibrate import CalibrationWarning as CalibrationWarning
from .calibrate import calibrate as calibrate
from .eager import convert as convert
from .eager import prepare as prepare
from .eager import prepare_qat as prepare_qat
from .eager import propagate_qconfig_ as propagate_qconfig_
from .eager import quantize_dynamic as quantize_dynamic
from .fake_quantize import FakeQuantize as FakeQuantize
from .fake_quantize import default_fake_quant as default_fake_quant
from .fake_quantize import default_per_channel_weight_fake_quant as default_per_channel_weight_fake_quant
from .fake_quantize import default_weight_fake_quant as default_weight_fake_quant
from .fake_quantize import disable_fake_quant as disable_fake_quant
from .fake_quantize import disable_observer as disable_observer
from .fake_quantize import enable_fake_quant as enable_fake_quant
from .fake_quantize import enable_observer as enable_observer
from .fusion import fuse_modules as fuse_modules
from .fusion import fuse_modules_qat as fuse_modules_qat
from .qconfig import QConfig as QConfig
from .qconfig import QConfigError as QConfigError
from .qconfig import default_dynamic_qconfig as default_dynamic_qconfig
from .qconfig import default_dynamic_quant_observer as default_dynamic_quant_observer
from .qconfig import default_histogram_observer as default_histogram_observer
from .qconfig import default_observer as default_observer
from .qconfig import default_per_channel_qconfig as default_per_channel_qconfig
from .qconfig import default_per_channel_weight_observer as default_per_channel_weight_observer
from .qconfig import default_qat_qconfig as default_qat_qconfig
from .qconfig import default_qconfig as default_qconfig
from .qconfig import default_weight_observer as default_weight_observer
from .qconfig import get_default_qat_qconfig as get_default_qat_qconfig
from .qconfig import get_default_qconfig as get_default_qconfig
from .qconfig import per_channel_dynamic_qconfig as per_channel_dynamic_qconfig
from .stubs import DeQuantStub as DeQuantStub
from .stubs import QuantStub as QuantStub
