"""Models in files: `save(model, path)` and `load(path)`. No pickle: a file holds names, numbers and arrays, and no code."""

from .file import FileError as FileError
from .model import load as load, save as save
from .weights import load_weights as load_weights, save_weights as save_weights
