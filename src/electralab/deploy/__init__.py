"""What answers new texts needs where there is no PyTorch: it imports numpy, `tokenizers` and ONNX Runtime at most."""
