"""Threads, cooperative scheduling, the clock, and failures of the system in words of our own."""
