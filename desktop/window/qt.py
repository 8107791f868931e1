"""What the window asks of Qt on Linux, so that it is an app's and not a browser's."""

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
from signalbox.desktop.window.qt_menus import is_dark

__all__ = ["is_dark"]

Can, Do = QWebEngineContextMenuRequest.EditFlag, QWebEnginePage.WebAction
EDITS: Final = {
    Can.CanUndo: Do.Undo,
    Can.CanRedo: Do.Redo,
    Can.CanCut: Do.Cut,
    Can.CanCopy: Do.Copy,
    Can.CanPaste: Do.Paste,
    Can.CanSelectAll: Do.SelectAll,
}


def application() -> QApplication:
    """The application object, which pywebview then takes; the desktop knows it by this name."""
    app: Any = QApplication(["signalbox"])
    app.setDesktopFileName("signalbox")
    app.wishes = Wishes(app)
    return cast("QApplication", app)


def do(_window: Any, work: Callable[[], object]) -> None:
    """Call `work` on the main thread, from whatever thread."""
    app: Any = QApplication.instance()
    app.wishes.wished.emit(work)


def set_theme(window: Any, theme: str) -> None:
    """Of dialogs and menus: system, light or dark."""
    qt_menus.set_theme(window.native, theme)


def fit(
    window: Any,
    background: str,
    menus: Sequence[Menu],
    home: Callable[[], str],
    lost: Callable[[], None],
    named: Callable[[str], None],
) -> None:
    """Make pywebview's new window keep to `home()`.

    `lost` is called without a page, `named` with each title that the page gives itself.
    """
    native = window.native
    view: QWebEngineView = native.webview
    page: Any = view.page()
    page.setBackgroundColor(QColor(background))
    # What pywebview does then is to give the page an object that calls Python: nothing needs it.
    page.loadFinished.disconnect(native.on_load_finished)
    page.settings().setAttribute(QWebEngineSettings.WebAttribute.JavascriptCanAccessClipboard, True)
    page.navigationRequested.connect(partial(stay, home))
    page.loadingChanged.connect(partial(notice_failure, lost))
    page.renderProcessTerminated.connect(lambda *_: lost())
    page.titleChanged.connect(named)
    page.profile().downloadRequested.connect(partial(save, native))
    page.iconChanged.connect(native.setWindowIcon)
    view.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
    view.customContextMenuRequested.connect(partial(edit_menu, view))
    native.other_page = page.nav_handler  # pywebview's, for links that open windows
    # pywebview makes the menu bar right after this.
    QTimer.singleShot(0, native, partial(qt_menus.dress, native, menus))


def stay(home: Callable[[], str], request: QWebEngineNavigationRequest) -> None:
    """Let the window show the page and nothing else: no link, no dropped file, no raw answer."""
    url = request.url()
    if _origin(url) != _origin(QUrl(home())) or url.path() != "/":
        request.reject()


def notice_failure(lost: Callable[[], None], loading: QWebEngineLoadingInfo) -> None:
    """The server did not answer, or refused; a navigation that was not allowed is no failure."""
    if loading.status() == QWebEngineLoadingInfo.LoadStatus.LoadFailedStatus:
        lost()


def save(native: Any, download: QWebEngineDownloadRequest) -> None:
    """Ask where an export should go; pywebview's own way is that of Qt 5."""
    proposal = str(Path(download.downloadDirectory()) / download.downloadFileName())
    path, _ = QFileDialog.getSaveFileName(native, "", proposal)
    if not path:
        return
    download.setDownloadDirectory(str(Path(path).parent))
    download.setDownloadFileName(Path(path).name)
    download.accept()


def edit_menu(view: QWebEngineView, point: QPoint) -> None:
    """A context menu where there is text to edit or copy: no Back, Reload or page source."""
    asked = view.lastContextMenuRequest()
    if not asked.isContentEditable() and not asked.selectedText():
        return
    menu = QMenu(view)
    menu.setStyleSheet(qt_menus.style())
    menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    for possible, edit in EDITS.items():
        if possible in asked.editFlags():
            menu.addAction(view.page().action(edit))
    menu.popup(view.mapToGlobal(point))


def place(window: Any, before: Geometry, _state: str) -> Geometry:
    """Where the window stands, its frame included; what it was `before` while it fills the screen.

    (pywebview tells where the inside stands but places the outside: each start would move it.)
    """
    native = window.native
    if native.isMaximized() or native.isMinimized() or native.isFullScreen():
        return before._replace(maximized=native.isMaximized())
    return Geometry(native.x(), native.y(), native.width(), native.height())


def come(window: Any, _state: str) -> None:
    """Bring the window before all others."""
    native = window.native
    shown = native.windowState() & ~Qt.WindowState.WindowMinimized
    native.setWindowState(shown | Qt.WindowState.WindowActive)
    native.show()
    native.raise_()
    native.activateWindow()


def full_screen(window: Any) -> None:
    """Fill the screen, or no longer: a window that was maximized is so again."""
    native = window.native
    native.setWindowState(native.windowState() ^ Qt.WindowState.WindowFullScreen)


def zoom(window: Any, factor: float) -> None:
    """Show the page larger or smaller; 1.0 is as it is."""
    window.native.webview.setZoomFactor(factor)


def run(window: Any, script: str) -> None:
    """Run it in the page, whose answer does not matter."""
    window.native.webview.page().runJavaScript(script)


def press(window: Any, keys: str) -> None:
    """Press keys in the page: a file can be asked for only where the user did something there."""
    native = window.native
    sequence: Any = QKeySequence(keys)
    pressed = sequence[0]
    target = native.webview.focusProxy()
    target.setFocus()
    for kind in (QEvent.Type.KeyPress, QEvent.Type.KeyRelease):
        event = QKeyEvent(kind, pressed.key(), pressed.keyboardModifiers())
        QCoreApplication.sendEvent(target, event)


def forget(window: Any) -> None:
    """Free what pywebview keeps of a closed window: its pages go first, then view and profile."""
    native = window.native
    for each in (native.other_page, native, native.profile):
        each.deleteLater()


class Wishes(QObject):
    """Takes what other threads want done to the main one."""

    wished = Signal(object)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self.wished.connect(self._do)

    @Slot(object)
    def _do(self, work: Callable[[], object]) -> None:
        work()


def _origin(url: QUrl) -> tuple[str, str, int]:
    return url.scheme(), url.host(), url.port()
