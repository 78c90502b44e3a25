"""Quantization of networks: torch.ao.quantization's names, in one place.

In reading order: observers (re-exported), fake-quantizers, qconfigs, their presets, mappings that hand them out, stubs,
fusion, what a backend can do, the eager workflow, and graph mode.
"""

from ..calibration import EntropyObserver as EntropyObserver, ExactHistogramObserver as ExactHistogramObserver
from ..calibration import MovingAveragePerGroupMinMaxObserver as MovingAveragePerGroupMinMaxObserver
from ..calibration import MSEObserver as MSEObserver, PercentileObserver as PercentileObserver
from ..calibration import PerChannelHistogramObserver as PerChannelHistogramObserver
from ..observers import AbsMaxRule as AbsMaxRule, FixedQParamsObserver as FixedQParamsObserver
from ..observers import HistogramObserver as HistogramObserver, MinMaxObserver as MinMaxObserver
from ..observers import MovingAverageAbsMaxObserver as MovingAverageAbsMaxObserver
from ..observers import MovingAverageMinMaxObserver as MovingAverageMinMaxObserver
from ..observers import MovingAveragePerChannelMinMaxObserver as MovingAveragePerChannelMinMaxObserver
from ..observers import NoopObserver as NoopObserver, NotCalibratedError as NotCalibratedError
from ..observers import PerChannelMinMaxObserver as PerChannelMinMaxObserver
from ..observers import PerGroupMinMaxObserver as PerGroupMinMaxObserver
from ..observers import PerTokenMinMaxObserver as PerTokenMinMaxObserver, PlaceholderObserver as PlaceholderObserver
from ..observers import RecordingObserver as RecordingObserver, ReuseInputObserver as ReuseInputObserver
from .analysis import compare as compare, evaluate as evaluate, profile as profile
from .backend_config import BackendConfig as BackendConfig, BackendPatternConfig as BackendPatternConfig
from .backend_config import DTypeConfig as DTypeConfig, DTypeWithConstraints as DTypeWithConstraints
from .backend_config import ObservationType as ObservationType, get_fbgemm_backend_config as get_fbgemm_backend_config
from .backend_config import get_native_backend_config as get_native_backend_config
from .backend_config import get_onednn_backend_config as get_onednn_backend_config
from .backend_config import get_qnnpack_backend_config as get_qnnpack_backend_config
from .backend_config import get_x86_backend_config as get_x86_backend_config
from .calibrate import CalibrationWarning as CalibrationWarning, calibrate as calibrate
from .eager import QuantWrapper as QuantWrapper, add_quant_dequant as add_quant_dequant, convert as convert
from .eager import default_eval_fn as default_eval_fn, prepare as prepare, prepare_qat as prepare_qat
from .eager import quantize as quantize, quantize_dynamic as quantize_dynamic, quantize_qat as quantize_qat
from .eager import swap_module as swap_module
from .fake_quantize import FakeQuantize as FakeQuantize, FakeQuantizeBase as FakeQuantizeBase
from .fake_quantize import FixedQParamsFakeQuantize as FixedQParamsFakeQuantize
from .fake_quantize import FusedMovingAvgObsFakeQuantize as FusedMovingAvgObsFakeQuantize
from .fake_quantize import disable_fake_quant as disable_fake_quant, disable_observer as disable_observer
from .fake_quantize import enable_fake_quant as enable_fake_quant, enable_observer as enable_observer
from .fusion import fuse_modules as fuse_modules, fuse_modules_qat as fuse_modules_qat
from .graph import ConvertCustomConfig as ConvertCustomConfig, FuseCustomConfig as FuseCustomConfig, Graph as Graph
from .graph import GraphError as GraphError, GraphModule as GraphModule, Node as Node
from .graph import PrepareCustomConfig as PrepareCustomConfig, TraceError as TraceError, convert_fx as convert_fx
from .graph import convert_to_reference_fx as convert_to_reference_fx, explain as explain, fuse_fx as fuse_fx
from .graph import prepare_fx as prepare_fx, prepare_qat_fx as prepare_qat_fx, symbolic_trace as symbolic_trace
from .learnable import LearnableFakeQuantize as LearnableFakeQuantize
from .presets import default_activation_only_qconfig as default_activation_only_qconfig
from .presets import default_debug_observer as default_debug_observer, default_debug_qconfig as default_debug_qconfig
from .presets import default_dynamic_fake_quant as default_dynamic_fake_quant
from .presets import default_dynamic_qat_qconfig as default_dynamic_qat_qconfig
from .presets import default_dynamic_qconfig as default_dynamic_qconfig
from .presets import default_dynamic_quant_observer as default_dynamic_quant_observer
from .presets import default_embedding_fake_quant as default_embedding_fake_quant
from .presets import default_embedding_fake_quant_4bit as default_embedding_fake_quant_4bit
from .presets import default_embedding_qat_qconfig as default_embedding_qat_qconfig
from .presets import default_embedding_qat_qconfig_4bit as default_embedding_qat_qconfig_4bit
from .presets import default_fake_quant as default_fake_quant
from .presets import default_fixed_qparams_range_0to1_fake_quant as default_fixed_qparams_range_0to1_fake_quant
from .presets import default_fixed_qparams_range_0to1_observer as default_fixed_qparams_range_0to1_observer
from .presets import default_fixed_qparams_range_neg1to1_fake_quant as default_fixed_qparams_range_neg1to1_fake_quant
from .presets import default_fixed_qparams_range_neg1to1_observer as default_fixed_qparams_range_neg1to1_observer
from .presets import default_float_qparams_observer as default_float_qparams_observer
from .presets import default_float_qparams_observer_4bit as default_float_qparams_observer_4bit
from .presets import default_fused_act_fake_quant as default_fused_act_fake_quant
from .presets import default_fused_per_channel_wt_fake_quant as default_fused_per_channel_wt_fake_quant
from .presets import default_fused_wt_fake_quant as default_fused_wt_fake_quant
from .presets import default_histogram_fake_quant as default_histogram_fake_quant
from .presets import default_histogram_observer as default_histogram_observer, default_observer as default_observer
from .presets import default_per_channel_qconfig as default_per_channel_qconfig
from .presets import (
    default_per_channel_symmetric_qnnpack_qat_qconfig as default_per_channel_symmetric_qnnpack_qat_qconfig,
)
from .presets import default_per_channel_symmetric_qnnpack_qconfig as default_per_channel_symmetric_qnnpack_qconfig
from .presets import default_per_channel_weight_fake_quant as default_per_channel_weight_fake_quant
from .presets import default_per_channel_weight_observer as default_per_channel_weight_observer
from .presets import default_placeholder_observer as default_placeholder_observer
from .presets import default_qat_qconfig as default_qat_qconfig, default_qat_qconfig_v2 as default_qat_qconfig_v2
from .presets import default_qconfig as default_qconfig, default_quint8_weight_qconfig as default_quint8_weight_qconfig
from .presets import default_reuse_input_observer as default_reuse_input_observer
from .presets import default_reuse_input_qconfig as default_reuse_input_qconfig
from .presets import default_symmetric_qnnpack_qat_qconfig as default_symmetric_qnnpack_qat_qconfig
from .presets import default_symmetric_qnnpack_qconfig as default_symmetric_qnnpack_qconfig
from .presets import default_weight_fake_quant as default_weight_fake_quant
from .presets import default_weight_observer as default_weight_observer
from .presets import default_weight_only_qconfig as default_weight_only_qconfig
from .presets import float16_dynamic_qconfig as float16_dynamic_qconfig
from .presets import float16_static_qconfig as float16_static_qconfig
from .presets import float_qparams_weight_only_qconfig as float_qparams_weight_only_qconfig
from .presets import float_qparams_weight_only_qconfig_4bit as float_qparams_weight_only_qconfig_4bit
from .presets import (
    fused_per_channel_wt_fake_quant_range_neg_127_to_127 as fused_per_channel_wt_fake_quant_range_neg_127_to_127,
)
from .presets import fused_wt_fake_quant_range_neg_127_to_127 as fused_wt_fake_quant_range_neg_127_to_127
from .presets import get_default_qat_qconfig as get_default_qat_qconfig, get_default_qconfig as get_default_qconfig
from .presets import int4_weight_only_qat_qconfig as int4_weight_only_qat_qconfig
from .presets import int4_weight_only_qconfig as int4_weight_only_qconfig
from .presets import int8_weight_only_qat_qconfig as int8_weight_only_qat_qconfig
from .presets import int8_weight_only_qconfig as int8_weight_only_qconfig
from .presets import per_channel_dynamic_qconfig as per_channel_dynamic_qconfig
from .presets import (
    per_channel_weight_observer_range_neg_127_to_127 as per_channel_weight_observer_range_neg_127_to_127,
)
from .presets import weight_observer_range_neg_127_to_127 as weight_observer_range_neg_127_to_127
from .qconfig import QConfig as QConfig, QConfigError as QConfigError
from .qconfig_mapping import QConfigMapping as QConfigMapping
from .qconfig_mapping import get_default_qat_qconfig_mapping as get_default_qat_qconfig_mapping
from .qconfig_mapping import get_default_qconfig_mapping as get_default_qconfig_mapping
from .qconfig_mapping import propagate_qconfig_ as propagate_qconfig_
from .recipe import QATRecipe as QATRecipe
from .stubs import DeQuantStub as DeQuantStub, QuantStub as QuantStub
