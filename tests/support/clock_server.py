"""The real server with a clock that can be set: `python -m support.clock_server FILE serve …`.

FILE has the seconds by which the clock is ahead, read at every look at it.
"""

# Before any other import, as in the server itself.
from signalbox.server import __main__ as serving  # isort: skip

import sys
from pathlib import Path
from time import time

from signalbox.server.app import App
from signalbox.server.settings import Settings

AHEAD = Path(sys.argv[1])


class LeapingApp(App):
    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, wall=lambda: time() + float(AHEAD.read_text()))


vars(serving)["App"] = LeapingApp
sys.exit(serving.main(sys.argv[2:]))
