"""A message box that says why there is no window, for somebody who has no terminal."""

import shutil
import subprocess
import sys
from typing import Final

from signalbox.desktop import child_env

TITLE: Final = "Signalbox"
DIALOG_PROGRAMS: Final = {
    "zenity": ["--error", "--no-markup", "--width=480", f"--title={TITLE}", "--text={text}"],
    "kdialog": ["--title", TITLE, "--error", "{text}"],
    "xmessage": ["-center", "-title", TITLE, "{text}"],
    "notify-send": [TITLE, "{text}"],
}
"""Programs of Linux desktops that show a text, with their arguments; the best first."""
ICON_ERROR: Final = 0x10


def show_alert(text: str) -> bool:
    """Show an alert until it is dismissed; False where nothing here can show a text."""
    if sys.platform == "win32":
        import ctypes  # noqa: PLC0415 - it is needed nowhere else

        ctypes.windll.user32.MessageBoxW(None, text, TITLE, ICON_ERROR)
        return True
    is_mac = sys.platform == "darwin"
    return _run_dialog(_osascript_command(text) if is_mac else _dialog_command(text))


def _osascript_command(text: str) -> list[str]:
    """The command that shows an alert on macOS; its text is an argument, and so no script."""
    lines = [
        "on run argv",
        f'display alert "{TITLE}" message (item 1 of argv) as critical',
        "end run",
    ]
    return ["osascript", *(part for line in lines for part in ("-e", line)), text]


def _dialog_command(text: str) -> list[str]:
    """The command of the first dialog program that is installed; empty without any."""
    for program, arguments in DIALOG_PROGRAMS.items():
        if path := shutil.which(program):
            return [path, *(argument.replace("{text}", text) for argument in arguments)]
    return []


def _run_dialog(command: list[str]) -> bool:
    """Show the message box of a program; whether a person has dismissed it."""
    if not command:
        return False
    ended = subprocess.run(command, env=child_env.environment(), capture_output=True, check=False)
    return ended.returncode in (0, 1)  # 1: it was closed by its corner
