"""Archives of a bundle for people to download: .tar.xz, .zip and .dmg."""

import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Final

XZ: Final = ("xz", "-9", "--threads=0", "--stdout")


def make_tar_xz(bundle: Path, share: Path, path: Path) -> Path:
    """The bundle as one folder, with the files for a desktop's menu in its `share`."""
    top = path.name.removesuffix(".tar.xz")
    with path.open("wb") as file:
        packer = subprocess.Popen(XZ, stdin=subprocess.PIPE, stdout=file)
        with tarfile.open(fileobj=packer.stdin, mode="w|") as tar:
            for source, name in ((bundle, top), (share, f"{top}/share")):
                tar.add(source, name, filter=_owned_by_root)
        packer.communicate()
    if packer.returncode:
        raise subprocess.CalledProcessError(packer.returncode, XZ)
    return path


def make_zip(bundle: Path, path: Path) -> Path:
    """A .zip of the bundle for Windows."""
    archive = shutil.make_archive(str(path.with_suffix("")), "zip", bundle.parent, bundle.name)
    return Path(archive)


def make_dmg(app: Path, path: Path) -> Path:
    """A disk image for macOS, beside the app a link to the folder that it is dragged to."""
    folder = path.with_suffix("")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    subprocess.run(["ditto", str(app), str(folder / app.name)], check=True)
    (folder / "Applications").symlink_to("/Applications")
    options = ["-volname", app.stem, "-srcfolder", str(folder), "-ov", "-format", "UDZO"]
    subprocess.run(["hdiutil", "create", *options, str(path)], check=True)
    shutil.rmtree(folder)
    return path


def _owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """An archive's member as root's: unpacked by root it belongs to no other user."""
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member
