"""A folder whose unsynced writes a power cut takes away.

Modelled: bytes behind the end of what a finished fsync covered are gone, or a random piece of them
is left (a disk may have written some by itself). Files made, renamed or deleted since the last
fsync of their folder are as they were then, or the changes stay (most file systems write them
along). A killed process alone proves nothing of this: its writes stand in the page cache, and stay.

Not modelled: bytes changed in the middle of a file; folders themselves (taken to be on disk as
soon as they are made); garbage in place of unsynced bytes; a disk that lies about fsync.
"""

from __future__ import annotations

import random
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("unsynced.c")
SIZE_BYTES = 8


def build(folder: Path) -> Path:
    """The library to preload."""
    library = folder / "unsynced.so"
    command = ("gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror", "-pthread")
    subprocess.run([*command, "-o", str(library), str(SOURCE), "-ldl"], check=True)
    return library


@dataclass
class Cut:
    """What one power cut took."""

    bytes_lost: int = 0
    bytes_torn: int = 0  # unsynced, and left all the same
    folders_reverted: int = 0


class Disk:
    """The folder; processes that write into it must be started with `environ`."""

    def __init__(self, folder: Path, notes: Path, library: Path) -> None:
        self.folder, self._notes = folder, notes
        folder.mkdir(parents=True, exist_ok=True)
        self.environ = {
            "LD_PRELOAD": str(library),
            "UNSYNCED_FOLDER": str(folder),
            "UNSYNCED_NOTES": str(notes),
        }
        self._settle()

    def cut(self, chance: random.Random) -> Cut:
        """The power fails, and is back. Whoever wrote into the folder must have been killed."""
        cut = Cut()
        for path in self._get_files():
            self._keep(path)
        for folder in self._get_folders():
            if chance.random() < 0.5:
                cut.folders_reverted += self._revert(folder)
        for path in self._get_files():
            synced, size = self._get_synced(path), path.stat().st_size
            if size <= synced:
                continue
            left = synced + (chance.randrange(size - synced) if chance.random() < 0.5 else 0)
            cut.bytes_lost += size - left
            cut.bytes_torn += left - synced
            with path.open("r+b") as file:
                file.truncate(left)
        self._settle()
        return cut

    def _get_files(self) -> list[Path]:
        return [path for path in self.folder.rglob("*") if path.is_file() and not path.is_symlink()]

    def _get_folders(self) -> list[Path]:
        return [self.folder, *(path for path in self.folder.rglob("*") if path.is_dir())]

    def _get_synced(self, path: Path) -> int:
        note = self._notes / "files" / str(path.stat().st_ino)
        return int.from_bytes(note.read_bytes(), "little") if note.exists() else 0

    def _revert(self, folder: Path) -> bool:
        """Give the folder the entries that it had at its last fsync; whether it had others."""
        note = self._notes / "folders" / str(folder.stat().st_ino)
        lines = note.read_text().splitlines() if note.exists() else []
        wanted = {name: number for number, name in (line.split("\t") for line in lines)}
        files = {path.name: path for path in folder.iterdir() if path.is_file()}
        if wanted == {name: str(path.stat().st_ino) for name, path in files.items()}:
            return False
        for path in files.values():
            path.unlink()
        for name, number in wanted.items():
            (folder / name).hardlink_to(self._notes / "nameless" / number)
        return True

    def _keep(self, path: Path) -> None:
        kept = self._notes / "nameless" / str(path.stat().st_ino)
        if not kept.exists():
            kept.hardlink_to(path)

    def _settle(self) -> None:
        """Begin anew: what is there now is on disk."""
        shutil.rmtree(self._notes, ignore_errors=True)
        for name in ("files", "folders", "nameless"):
            (self._notes / name).mkdir(parents=True)
        for path in self._get_files():
            facts = path.stat()
            note = self._notes / "files" / str(facts.st_ino)
            note.write_bytes(facts.st_size.to_bytes(SIZE_BYTES, "little"))
        for folder in self._get_folders():
            entries = [path for path in folder.iterdir() if path.is_file()]
            lines = [f"{path.stat().st_ino}\t{path.name}\n" for path in entries]
            (self._notes / "folders" / str(folder.stat().st_ino)).write_text("".join(lines))
