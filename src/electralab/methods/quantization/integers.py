"""Which integers weights and activations become, in every link that multiplies integers.

Without VNNI instructions a CPU adds two products of 8-bit numbers in 16 bits, which 255 * 127 * 2 overflows: kernels
saturate there, and a graph answers otherwise than elsewhere. Weights of 7 bits never do: 255 * 64 * 2 < 2^15.
"""

from __future__ import annotations

ACTIVATION_LEVELS = 255
REDUCE_RANGE = True
PRODUCT_LIMIT = 64  # the largest weight of a product; ONNX Runtime's with `reduce_range`
TABLE_LIMIT = 127  # of embeddings, which are looked up and not multiplied
