"""A program: pywebview with nothing but a few lines of text, on the engine that the app uses.

Runs until it is killed.
"""

import os

os.environ.update(PYWEBVIEW_GUI="qt", QT_API="pyside6")

import webview

PAGE = "<!doctype html><title>Empty</title>" + "<p>" + "nothing here " * 1000


def main() -> None:
    webview.create_window("Empty", html=PAGE, width=1152, height=720)
    webview.start(gui="qt")


if __name__ == "__main__":
    main()
