"""Name, version and other metadata of the program, in the form that each system reads."""

import tomllib
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
NAME: Final = "signalbox"
TITLE: Final = "Signalbox"
IDENTIFIER: Final = "org.signalbox.Signalbox"
ICONS: Final = {"win32": "signalbox.ico", "darwin": "signalbox.icns"}


def version() -> str:
    """The program's version, as `pyproject.toml` has it."""
    return str(_project()["version"])


def summary() -> str:
    """One line about the program, as `pyproject.toml` has it."""
    return str(_project()["description"])


def info_plist() -> dict[str, Any]:
    """The entries of Info.plist for macOS beyond name and version (Apple)."""
    return {
        "CFBundleDisplayName": TITLE,
        "CFBundleShortVersionString": version(),
        "LSApplicationCategoryType": "public.app-category.developer-tools",
        "LSMinimumSystemVersion": "12.0",
        "NSHighResolutionCapable": True,
        "NSRequiresAquaSystemAppearance": False,  # dark where the system is
        # the page comes from the server on this computer, which speaks plain HTTP
        "NSAppTransportSecurity": {"NSAllowsLocalNetworking": True},
    }


def windows_version_file() -> str:
    """The version resource of a Windows program, as PyInstaller reads it."""
    numbers = (*map(int, version().split(".")), 0)
    texts = {
        "CompanyName": TITLE,
        "FileDescription": TITLE,
        "FileVersion": version(),
        "InternalName": NAME,
        "LegalCopyright": "MIT licence",
        "OriginalFilename": f"{NAME}.exe",
        "ProductName": TITLE,
        "ProductVersion": version(),
    }
    strings = ", ".join(f"StringStruct({name!r}, {text!r})" for name, text in texts.items())
    return (
        f"VSVersionInfo(ffi=FixedFileInfo(filevers={numbers}, prodvers={numbers}, mask=0x3f, "
        "flags=0x0, OS=0x40004, fileType=0x1, subtype=0x0, date=(0, 0)), kids=["
        f"StringFileInfo([StringTable('040904B0', [{strings}])]), "
        "VarFileInfo([VarStruct('Translation', [1033, 1200])])])\n"
    )


def _project() -> dict[str, Any]:
    """The metadata in `pyproject.toml`."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project
