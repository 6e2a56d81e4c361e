"""Evaluation of scores on files, strictly prequential: with no broker, or through one.

``collect.py`` gathers resolved labels, ``local.py`` and ``through_kafka.py`` run the roles,
``result.py`` turns labels into figures, predictions and a report.
"""
