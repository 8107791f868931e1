"""Moving a store from one engine to another, history included.

`locations` has where logs are, with one interface to all of them, `copying` copies what is missing,
`comparing` reads it back and finds differences, `moving` does all of it in order. Runs without a
server, in a process without gevent.
"""
