"""`python -m signalbox`: the program, as the command `signalbox` is."""

import sys

from signalbox import main

sys.exit(main())
