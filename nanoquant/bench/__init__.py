"""How fast the kernels are: against this CPU's own limits, and against whatever other int8 library is installed.

`shapes` is what is measured, `machine` what the CPU can do, `data` the numbers, `peers` who else is there, `timing` how
time is taken, `rows` one shape's figures, `report` and `plot` how they are shown, `command` the command line.
"""
