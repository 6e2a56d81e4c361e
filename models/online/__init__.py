"""Estimators that learn each label once, behind one interface."""
