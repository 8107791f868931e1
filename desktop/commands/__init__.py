"""The subcommands of `signalbox`, one file each; `desktop/cli.py` loads the one that is called."""
