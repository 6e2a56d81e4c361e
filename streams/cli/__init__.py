"""The command line `leadstream`: one file for each group of commands."""
