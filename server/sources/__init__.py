"""Built-in producers of keys; each is switched by a key of its own."""
