"""The SQLite file of a data directory: its tables, its files, and whether they are sound."""
