"""Everything that computes a score, learns from a label or explains a number; no Kafka here."""
