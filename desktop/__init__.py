"""The desktop process: the window and the command line, and the server that they start."""
