"""The formats that an import reads. Pure: pieces of a file in, its commands out, line by line."""
