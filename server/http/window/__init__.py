"""The window's page: the shell, its stream of patches, and what each region shows."""
