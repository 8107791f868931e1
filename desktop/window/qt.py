"""The native window on Linux (Qt): what pywebview lacks, and what makes it no browser."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

from PySide6.QtCore import QCoreApplication, QEvent, QObject, QPoint, Qt, QTimer, QUrl, Signal, Slot
from PySide6.QtGui import QColor, QKeyEvent, QKeySequence
from PySide6.QtWebEngineCore import (
    QWebEngineContextMenuRequest,
    QWebEngineDownloadRequest,
    QWebEngineLoadingInfo,
    QWebEngineNavigationRequest,
    QWebEnginePage,
    QWebEngineSettings,
)
from PySide6.QtWebEngineWidgets import QWebEngineView
from PySide6.QtWidgets import QApplication, QFileDialog, QMenu

from signalbox.desktop.window import qt_menus
from signalbox.desktop.window.geometry import Geometry
from signalbox.desktop.window.menus import Menu
from signalbox.desktop.window.qt_menus import is_desktop_dark

__all__ = ["is_desktop_dark"]

log: Final = logging.getLogger(__name__)

EditFlag, WebAction = QWebEngineContextMenuRequest.EditFlag, QWebEnginePage.WebAction
ConsoleLevel = QWebEnginePage.JavaScriptConsoleMessageLevel
LOG_LEVELS: Final = {
    ConsoleLevel.InfoMessageLevel: logging.INFO,
    ConsoleLevel.WarningMessageLevel: logging.WARNING,
    ConsoleLevel.ErrorMessageLevel: logging.ERROR,
}
SERVER_AWAY: Final = ("Datastar failed to reach ", "network error", "Failed to fetch")
"""How messages begin that Datastar and the web engine log while the server is away; the first has
an address of a thousand characters in it.
"""
EDIT_ACTIONS: Final = {
    EditFlag.CanUndo: WebAction.Undo,
    EditFlag.CanRedo: WebAction.Redo,
    EditFlag.CanCut: WebAction.Cut,
    EditFlag.CanCopy: WebAction.Copy,
    EditFlag.CanPaste: WebAction.Paste,
    EditFlag.CanSelectAll: WebAction.SelectAll,
}


def application() -> QApplication:
    """The application object, which pywebview then uses; the desktop knows it by this name."""
    app: Any = QApplication(["signalbox"])
    app.setDesktopFileName("signalbox")
    app.main_thread_runner = MainThreadRunner(app)
    return cast("QApplication", app)


def run_on_ui_thread(_window: Any, work: Callable[[], object]) -> None:
    """Call `work` on the main thread, from whatever thread."""
    app: Any = QApplication.instance()
    app.main_thread_runner.requested.emit(work)


def set_theme(window: Any, theme: str) -> None:
    """Set the theme of Qt's dialogs and menus: system, light or dark."""
    qt_menus.set_theme(window.native, theme)


def set_up_window(
    window: Any,
    background: str,
    menus: Sequence[Menu],
    page_url: Callable[[], str],
    on_page_lost: Callable[[], None],
    on_page_title: Callable[[str], None],
) -> None:
    """Let pywebview's new window show nothing but `page_url()`, with our menus and downloads.

    `on_page_lost` is called when it has no page to show, `on_page_title` with each title of it.
    """
    native = window.native
    view: QWebEngineView = native.webview
    page: Any = view.page()
    page.setBackgroundColor(QColor(background))
    page.javaScriptConsoleMessage = log_page_message
    # pywebview would give the page an object that calls Python, which nothing here needs.
    page.loadFinished.disconnect(native.on_load_finished)
    page.settings().setAttribute(QWebEngineSettings.WebAttribute.JavascriptCanAccessClipboard, True)
    page.navigationRequested.connect(partial(restrict_navigation, page_url))
    page.loadingChanged.connect(partial(report_load_failure, on_page_lost))
    page.renderProcessTerminated.connect(lambda *_: on_page_lost())
    page.titleChanged.connect(on_page_title)
    page.profile().downloadRequested.connect(partial(save_download, native))
    page.iconChanged.connect(native.setWindowIcon)
    view.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
    view.customContextMenuRequested.connect(partial(show_edit_menu, view))
    native.popup_page = page.nav_handler  # pywebview's, for links that open windows
    # pywebview creates the menu bar right after this.
    QTimer.singleShot(0, native, partial(qt_menus.set_up_menu_bar, native, menus))


def log_page_message(level: ConsoleLevel, message: str, _line: int, _source: str) -> None:
    """Log what the page says on its console, but for what is expected while the server is away.

    The app itself says that the server has ended and which one came instead.
    """
    if not message.startswith(SERVER_AWAY):
        log.log(LOG_LEVELS[level], "The page: %s", message)


def restrict_navigation(page_url: Callable[[], str], request: QWebEngineNavigationRequest) -> None:
    """Let the window show the page and nothing else: no link, no dropped file, no raw answer."""
    url = request.url()
    if _origin(url) != _origin(QUrl(page_url())) or url.path() != "/":
        request.reject()


def report_load_failure(on_page_lost: Callable[[], None], loading: QWebEngineLoadingInfo) -> None:
    """The server did not answer, or refused; a navigation that was not allowed is no failure."""
    if loading.status() == QWebEngineLoadingInfo.LoadStatus.LoadFailedStatus:
        on_page_lost()


def save_download(native: Any, download: QWebEngineDownloadRequest) -> None:
    """Ask where an export should go; pywebview's own code for it is that of Qt 5."""
    suggested = str(Path(download.downloadDirectory()) / download.downloadFileName())
    path, _ = QFileDialog.getSaveFileName(native, "", suggested)
    if not path:
        return
    download.setDownloadDirectory(str(Path(path).parent))
    download.setDownloadFileName(Path(path).name)
    download.accept()


def show_edit_menu(view: QWebEngineView, point: QPoint) -> None:
    """A context menu where there is text to edit or copy: no Back, Reload or page source."""
    request = view.lastContextMenuRequest()
    if not request.isContentEditable() and not request.selectedText():
        return
    menu = QMenu(view)
    menu.setStyleSheet(qt_menus.style_sheet())
    menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    for flag, action in EDIT_ACTIONS.items():
        if flag in request.editFlags():
            menu.addAction(view.page().action(action))
    menu.popup(view.mapToGlobal(point))


def read_geometry(window: Any, previous: Geometry, _state: str) -> Geometry:
    """The window's geometry with its frame; the `previous` one while it fills the screen.

    (pywebview reads that of the inside but sets that of the outside: each start would move it.)
    """
    native = window.native
    if native.isMaximized() or native.isMinimized() or native.isFullScreen():
        return previous._replace(maximized=native.isMaximized())
    return Geometry(native.x(), native.y(), native.width(), native.height())


def bring_to_front(window: Any, _state: str) -> None:
    """Bring the window before all other windows."""
    native = window.native
    state = native.windowState() & ~Qt.WindowState.WindowMinimized
    native.setWindowState(state | Qt.WindowState.WindowActive)
    native.show()
    native.raise_()
    native.activateWindow()


def toggle_full_screen(window: Any) -> None:
    """Fill the screen, or no longer: a window that was maximized is so again."""
    native = window.native
    native.setWindowState(native.windowState() ^ Qt.WindowState.WindowFullScreen)


def set_zoom(window: Any, factor: float) -> None:
    """Show the page larger or smaller; 1.0 is the actual size."""
    window.native.webview.setZoomFactor(factor)


def run_script(window: Any, script: str) -> None:
    """Run a script in the page; its result is not needed."""
    window.native.webview.page().runJavaScript(script)


def press_keys(window: Any, keys: str) -> None:
    """Press keys in the page: it may open a file dialog only after something that the user did."""
    native = window.native
    sequence: Any = QKeySequence(keys)
    pressed = sequence[0]
    target = native.webview.focusProxy()
    target.setFocus()
    for kind in (QEvent.Type.KeyPress, QEvent.Type.KeyRelease):
        event = QKeyEvent(kind, pressed.key(), pressed.keyboardModifiers())
        QCoreApplication.sendEvent(target, event)


def release(window: Any) -> None:
    """Free what pywebview keeps of a closed window: its pages first, then view and profile."""
    native = window.native
    for part in (native.popup_page, native, native.profile):
        part.deleteLater()


class MainThreadRunner(QObject):
    """Calls on the main thread what other threads ask it to."""

    requested = Signal(object)

    def __init__(self, parent: QObject) -> None:
        """A child of the Qt object `parent`, on whose thread the calls are run."""
        super().__init__(parent)
        self.requested.connect(self._call)

    @Slot(object)
    def _call(self, work: Callable[[], object]) -> None:
        """Run on Qt's main thread what `call` was given on another one."""
        work()


def _origin(url: QUrl) -> tuple[str, str, int]:
    """The origin of a page: the window shows pages of the server's alone."""
    return url.scheme(), url.host(), url.port()
