"""The peer job: one lead-scoring job that is the same on every stream processor.

Avro in, deduplication, 31 features a lead, an ONNX model, Avro out, exactly once. ``generate.py``
makes the input, ``processor.py`` is the job on our engine, ``verify.py`` checks every record by an
independent plain-Python reference, ``model.py`` makes the small network, ``run.py`` measures.
"""
