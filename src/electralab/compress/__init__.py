"""Adapters, low-bit fine-tuning and searches."""

import logging

# It advises to install optional kernels when it is imported, and tells of a cast in every pass of an int8 layer.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
