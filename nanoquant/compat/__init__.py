"""Classic PyTorch scripts on nanoquant, unmodified: `python -m nanoquant.compat script.py [arguments]`.

    import torch.quantization --> a module whose names are those of `nanoquant.quantization`

In reading order: `names`, what torch has and nanoquant has no place for; `vision`; `aliases`, the table of modules. What is
missing is an error that says so when it is asked for, not before.
"""

from .aliases import coverage as coverage, install as install, run as run
