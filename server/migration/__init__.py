"""Moving a store from one engine to another, history included.

`locations` says where logs are and makes all of them alike, `copying` brings what is missing,
`comparing` reads it back and tells what differs, `moving` is the whole way. Runs without a server,
in a process that waits plainly.
"""
