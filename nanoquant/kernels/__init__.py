"""The integer products: their specification in NumPy, and the C library that computes the same bits.

`reference` is what a product is; `packed` holds a layer's weights and runs it; `native` is the door to C.
"""
