"""Sockets, headers, who may ask, and the forms of answers."""
