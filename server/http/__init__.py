"""The loopback endpoints: a guard in front, commands and queries in modules that share nothing else."""
