"""The loopback endpoints: a guard in front; commands and queries share nothing else."""
