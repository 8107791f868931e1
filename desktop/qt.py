"""What the window asks of Qt on Linux, so that it is an app's and not a browser's."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

from PySide6.QtCore import QObject, QPoint, Qt, QUrl, Signal, Slot
from PySide6.QtGui import QColor, QGuiApplication
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

from desktop.geometry import Geometry

PAGES: Final = ("/", "/login")
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
    app = QApplication(["signalbox"])
    app.setDesktopFileName("signalbox")
    return app


def is_dark() -> bool:
    """Whether the desktop is."""
    return QGuiApplication.styleHints().colorScheme() == Qt.ColorScheme.Dark


def fit(native: Any, background: str, home: Callable[[], str], lost: Callable[[], None]) -> None:
    """Make pywebview's new window `native` keep to `home()`; `lost` is called without a page."""
    view: QWebEngineView = native.webview
    page = view.page()
    page.setBackgroundColor(QColor(background))
    # What pywebview does then is to give the page an object that calls Python: nothing needs it.
    page.loadFinished.disconnect(native.on_load_finished)
    page.settings().setAttribute(QWebEngineSettings.WebAttribute.JavascriptCanAccessClipboard, True)
    page.navigationRequested.connect(partial(stay, home))
    page.loadingChanged.connect(partial(notice_failure, lost))
    page.renderProcessTerminated.connect(lambda *_: lost())
    page.profile().downloadRequested.connect(partial(save, native))
    page.iconChanged.connect(native.setWindowIcon)
    view.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
    view.customContextMenuRequested.connect(partial(edit_menu, view))
    native.front = Front(native)


def stay(home: Callable[[], str], request: QWebEngineNavigationRequest) -> None:
    """Let the window show the page and nothing else: no link, no dropped file, no raw answer."""
    url = request.url()
    if _origin(url) != _origin(QUrl(home())) or url.path() not in PAGES:
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
    menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    for possible, edit in EDITS.items():
        if possible in asked.editFlags():
            menu.addAction(view.page().action(edit))
    menu.popup(view.mapToGlobal(point))


def place(native: Any, before: Geometry) -> Geometry:
    """Where the window stands, its frame included; what it was `before` while it fills the screen.

    (pywebview tells where the inside stands but places the outside: each start would move it.)
    """
    if native.isMaximized() or native.isMinimized() or native.isFullScreen():
        return before._replace(maximized=native.isMaximized())
    return Geometry(native.x(), native.y(), native.width(), native.height())


def come(native: Any) -> None:
    """Bring the window before all others, from whatever thread."""
    native.front.wished.emit()


class Front(QObject):
    """Takes a wish from another thread to the window's own."""

    wished = Signal()

    def __init__(self, native: Any) -> None:
        super().__init__(native)
        self._native = native
        self.wished.connect(self._come)

    @Slot()
    def _come(self) -> None:
        shown = self._native.windowState() & ~Qt.WindowState.WindowMinimized
        self._native.setWindowState(shown | Qt.WindowState.WindowActive)
        self._native.show()
        self._native.raise_()
        self._native.activateWindow()


def _origin(url: QUrl) -> tuple[str, str, int]:
    return url.scheme(), url.host(), url.port()
