"""Sources: bytes in, frame rows out. Nothing here knows what a packet means."""
