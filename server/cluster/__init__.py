"""Nodes that share one event log: connecting, following, and the writer of a node."""
