"""Recording and metering what passes an interface, and being the gateway that it passes through."""
