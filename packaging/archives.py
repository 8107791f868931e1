"""One file to download, of a bundle."""

import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Final

XZ: Final = ("xz", "-9", "--threads=0", "--stdout")


def tar_xz(bundle: Path, share: Path, path: Path) -> Path:
    """The bundle as one folder, with what a desktop's menu wants in `share`."""
    top = path.name.removesuffix(".tar.xz")
    with path.open("wb") as file:
        packer = subprocess.Popen(XZ, stdin=subprocess.PIPE, stdout=file)
        with tarfile.open(fileobj=packer.stdin, mode="w|") as tar:
            for source, name in ((bundle, top), (share, f"{top}/share")):
                tar.add(source, name, filter=_of_nobody)
        packer.communicate()
    if packer.returncode:
        raise subprocess.CalledProcessError(packer.returncode, XZ)
    return path


def zipped(bundle: Path, path: Path) -> Path:
    """For Windows."""
    made = shutil.make_archive(str(path.with_suffix("")), "zip", bundle.parent, bundle.name)
    return Path(made)


def dmg(app: Path, path: Path) -> Path:
    """A disk image for macOS, with the folder that one drags the app to beside it."""
    folder = path.with_suffix("")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    subprocess.run(["ditto", str(app), str(folder / app.name)], check=True)
    (folder / "Applications").symlink_to("/Applications")
    options = ["-volname", app.stem, "-srcfolder", str(folder), "-ov", "-format", "UDZO"]
    subprocess.run(["hdiutil", "create", *options, str(path)], check=True)
    shutil.rmtree(folder)
    return path


def _of_nobody(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Whoever unpacks it as root does not give it to whoever built it."""
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member
