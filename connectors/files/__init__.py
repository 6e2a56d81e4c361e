"""Import of CSV, JSON lines and Parquet files as source events, told how by a YAML mapping.

Start reading at :mod:`connectors.files.mapping` (what a mapping can say) and
:mod:`connectors.files.pipeline` (files + mapping -> record batches in order of time).
"""
