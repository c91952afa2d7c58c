"""Who is talking: names that are found in the first bytes of flows."""
