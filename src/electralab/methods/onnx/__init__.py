"""Fine-tuned encoders as ONNX graphs: written, read and run."""
