"""Adapters, low-bit fine-tuning and searches."""

import logging

# What bitsandbytes says and nobody can use: advice on optional kernels when it is imported, and a cast in every pass of
# an int8 layer.
for _module, _line in (
    ("backends.cpu.ops", "Failed to load CPU gemm_4bit_forward"),
    ("autograd._functions", "MatMul8bitLt: inputs will be cast"),
):
    logging.getLogger(f"bitsandbytes.{_module}").addFilter(
        lambda record, line=_line: not str(record.msg).startswith(line)  # type: ignore[misc]
    )
