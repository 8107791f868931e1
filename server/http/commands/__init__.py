"""The endpoints that write: single commands, imports, and compaction."""
