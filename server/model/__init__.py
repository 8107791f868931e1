"""What may be asked and what happened. Pure: no I/O, no clock, no HTTP."""
