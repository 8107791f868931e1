"""Where the event log lives. `base` states the promises; every engine passes the same tests."""
