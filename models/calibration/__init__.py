"""From a mixed logit to a probability, a percentile, a 1-100 score and a grade."""
