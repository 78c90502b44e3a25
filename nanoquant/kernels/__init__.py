"""The integer products: their specification in NumPy, and the C library that computes the same bits.

`reference` is what a product is; `packed` holds a layer's weights and runs it; `native` is the door to C. `saturation`
proves what 8-bit multiplies that saturate would do to a layer, and how wide its accumulator must be.
"""
