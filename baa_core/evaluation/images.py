"""Where the radiographs of a batch are: a folder, or object storage that fsspec reads. Nothing outside is opened.

Object storage is named by a URL: `s3://bucket/prefix`, `gs://`, `az://`, `https://`, `memory://` or any other that
fsspec knows; `file://` is a folder. Keys, endpoint and region are read by the driver from its own environment
variables and files, or from `FSSPEC_S3_ENDPOINT_URL` and the like; none is written down here.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote

from ..errors import BoneAgeError, InvalidTable, PackageMissing, StorageUnreachable, UnreadableImage
from ..io import shown_name
from ..io.limits import MOST_BYTES, too_large

# The package that reads each scheme, as fsspec's registry names it.
DRIVERS = {
    "s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "oss": "ossfs",
    "http": "fsspec[http]", "https": "fsspec[http]", "sftp": "paramiko", "ssh": "paramiko",
    "smb": "smbprotocol",
}  # fmt: skip
WITHOUT_FOLDERS = {"http", "https"}  # a prefix is no address there
ELSEWHERE = re.compile(r"://|::|^[/\\]|^[A-Za-z]:")  # another scheme, a chain of them, a root, a drive


class Images(Protocol):
    """Where the radiographs of a batch are."""

    def find(self, file: str) -> Path | bytes:
        """A row's radiograph: its path, or its bytes.

        Raises:
            InvalidTable: the row names nothing, or something outside.
            UnreadableImage: object storage does not have it, or it is larger than any radiograph.
            StorageUnreachable: nothing can be read any more.
        """


def open_images(where: Path | str) -> Images:
    """The folder or object storage of a batch.

    Args:
        where: a folder, or a URL.

    Raises:
        InvalidTable: there is no such folder or prefix, or fsspec knows no such scheme.
        PackageMissing: the driver for the scheme is not installed.
        StorageUnreachable: it does not answer.
    """
    if "://" not in str(where) and "::" not in str(where):
        return _Folder(Path(where))
    scheme = re.split(r"://|::", str(where))[0]
    shown = "".join(letter for letter in scheme if letter.isprintable())[:20]
    try:
        from fsspec.core import url_to_fs
        from fsspec.implementations.local import LocalFileSystem
    except ImportError:
        raise PackageMissing(
            "Object storage needs the package fsspec, which is not installed. Install it by: pip install fsspec"
        ) from None
    try:
        files, prefix = url_to_fs(str(where))
    except ImportError:
        driver = DRIVERS.get(scheme, "fsspec[full]")
        raise PackageMissing(
            f"{shown}:// needs a driver that is not installed. Install it by: pip install {driver}"
        ) from None
    except ValueError:
        raise InvalidTable(
            f"{shown}:// is no storage that fsspec can read. Give a folder or a URL such as s3://bucket/prefix as "
            "--images."
        ) from None
    except Exception:  # noqa: BLE001, each driver has errors of its own, which may quote keys
        raise _unreachable(shown) from None
    return _Folder(Path(prefix)) if isinstance(files, LocalFileSystem) else _Storage(files, prefix, shown)


class _Folder:
    """`Images` in a folder."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise InvalidTable(f"{folder.name} is not a folder. Give the folder with the radiographs as --images.")
        self.folder = os.path.abspath(folder)

    def find(self, file: str) -> Path:
        """The path of a row's file, if it lies in the folder by its name (links in it are the owner's choice)."""
        path = os.path.abspath(os.path.join(self.folder, _named(file)))
        if path == self.folder or os.path.commonpath([self.folder, path]) != self.folder:
            raise _outside()
        return Path(path)


class _Storage:
    """`Images` in object storage, below a prefix."""

    def __init__(self, files: Any, prefix: str, shown: str) -> None:
        self.files, self.prefix, self.shown = files, prefix.rstrip("/"), shown
        self.may_look = self._look()

    def find(self, file: str) -> bytes:
        """A row's object, if it is one and no larger than a radiograph may be; more is never read."""
        key, name = self._key(file), shown_name(file)
        try:
            known = self.files.info(key)
            size = known.get("size")
            if known.get("type") == "directory":
                raise FileNotFoundError
            if size is not None and size > MOST_BYTES:
                raise too_large(name, f"{size / 2**20:.0f} MB")
            with self.files.open(key, "rb") as opened:
                data: bytes = opened.read(MOST_BYTES + 1)
        except BoneAgeError:
            raise
        except (FileNotFoundError, IsADirectoryError):
            raise UnreadableImage(
                f"There is no file called {name} where it was looked for. Check its name and folder."
            ) from None
        except Exception:  # noqa: BLE001, each driver has errors of its own, which may quote keys
            if self._look() != self.may_look:  # keys that ran out, say: no later row could be read either
                raise _unreachable(self.shown) from None
            raise UnreadableImage(
                f"{name} could not be opened. Check that it exists and that you may read it."
            ) from None
        if len(data) > MOST_BYTES:
            raise too_large(name, f"{len(data) / 2**20:.0f} MB")
        return data

    def _key(self, file: str) -> str:
        """The key of a row's object.

        Raises:
            InvalidTable: the row names nothing, or something outside the prefix.
        """
        name = meant = _named(file)
        while (plain := unquote(meant)) != meant:  # `%2e%2e` is `..` to a server of HTTP
            meant = plain
        steps = [step for step in re.split(r"[/\\]", meant) if step != "."]
        if ELSEWHERE.search(meant) or ".." in steps or not any(steps):
            raise _outside()
        key = "/".join(step for step in name.split("/") if step != ".")
        return f"{self.prefix}/{key}" if self.prefix else key

    def _look(self) -> bool:
        """Whether the storage answers and shows the prefix; False where it forbids to look.

        Raises:
            InvalidTable: nothing is there.
            StorageUnreachable: it does not answer.
        """
        try:
            found = self.files.info(self.prefix)
        except PermissionError:
            return False
        except FileNotFoundError:
            if self.shown in WITHOUT_FOLDERS:
                return True
            raise InvalidTable(
                f"The object storage ({self.shown}://) holds nothing under the name given as --images. Check bucket "
                "and prefix."
            ) from None
        except Exception:  # noqa: BLE001, each driver has errors of its own, which may quote keys
            raise _unreachable(self.shown) from None
        if found.get("type") == "file" and self.shown not in WITHOUT_FOLDERS:
            raise InvalidTable("--images names one object. Give the prefix below which the radiographs are.")
        return True


def _named(file: str) -> str:
    """A row's file without spaces around it.

    Raises:
        InvalidTable: there is none.
    """
    if not file.strip() or "\0" in file:
        raise InvalidTable("The row names no file. Write the radiograph's name in the column file.")
    return file.strip()


def _outside() -> InvalidTable:
    return InvalidTable("The file leads outside the images folder. Name it relative to that folder, without '..'.")


def _unreachable(shown: str) -> StorageUnreachable:
    return StorageUnreachable(
        f"The object storage ({shown}://) does not answer, or no longer lets anything be read. Check network, address "
        "and keys, then give the same command again: it goes on where it stopped."
    )
