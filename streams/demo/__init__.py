"""``leadstream demo``: two workspaces streamed through real Kafka, watched live, then checked."""
