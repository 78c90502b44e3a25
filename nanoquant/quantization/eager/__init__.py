"""The eager workflow: prepare, calibrate (or train), convert. Modules are exchanged in place; nothing is traced."""

from .convert import convert as convert
from .dynamic import quantize_dynamic as quantize_dynamic
from .prepare import prepare as prepare, prepare_qat as prepare_qat
from .quantize import QuantWrapper as QuantWrapper, add_quant_dequant as add_quant_dequant
from .quantize import default_eval_fn as default_eval_fn, quantize as quantize, quantize_qat as quantize_qat
from .quantize import swap_module as swap_module
