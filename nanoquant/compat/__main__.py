"""`python -m nanoquant.compat script.py [arguments]`."""

import sys

from . import run

if len(sys.argv) < 2:
    sys.exit("usage: python -m nanoquant.compat script.py [arguments]")
run(sys.argv[1], sys.argv[2:])
