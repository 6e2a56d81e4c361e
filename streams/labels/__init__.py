"""The label ledger: feature rows wait for an outcome and become labels. Start at ``ledger.py``."""
