"""Which model serves: signing, gate, states, registry."""
