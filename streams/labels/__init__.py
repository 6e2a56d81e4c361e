"""The label ledger: feature rows wait for their outcome and become labels. Start at ``ledger.py``."""
