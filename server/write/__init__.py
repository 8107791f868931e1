"""The one writer: group commit, pending commands, retention and compaction."""
