"""Install what a lock pins into this Python: `python packaging/install_python_packages.py FILE`."""

import os
import re
import sys
from typing import Final

import command_progress

STEP: Final = re.compile(
    r"(Downloading [^-\s]+-[^-\s]+)\S* (\(.+\))|(Installing) collected (packages)"
)
PIP: Final = {"PIP_ROOT_USER_ACTION": "ignore", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def main() -> int:
    """Install what the lock pins; the exit status."""
    pip = [sys.executable, "-m", "pip", "install", "--progress-bar", "off", "--require-hashes"]
    succeeded = command_progress.run_with_progress(
        [*pip, "-r", sys.argv[1]], STEP, {**os.environ, **PIP}
    )
    return 0 if succeeded else 1


if __name__ == "__main__":
    sys.exit(main())
