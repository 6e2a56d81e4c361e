"""How good scores are: metrics, live prequential windows and the HTML report."""
