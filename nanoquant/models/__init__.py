"""Networks to quantize, each under a page."""

from .digits_cnn import DigitsCNN as DigitsCNN
