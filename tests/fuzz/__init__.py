"""Malformed inputs by a fixed seed, and the verdict on what the program makes of each: `make fuzz`."""
