"""Where the bundled program begins: window, server and command line in one."""

import sys

from signalbox.desktop.__main__ import main

sys.exit(main())
