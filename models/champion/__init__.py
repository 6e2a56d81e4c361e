"""Versioned additive ONNX graphs: how they are trained, built and run."""
