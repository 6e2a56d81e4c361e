"""From timeline events to feature rows, and from feature rows to the inputs of a model."""
