"""The event log in a Redis stream."""
