"""What kind of file system something lies on."""

import re
from contextlib import suppress
from pathlib import Path

IN_MEMORY = frozenset({"tmpfs", "ramfs"})
"""On these a sync is free, and nothing outlives the machine."""

OVER_THE_NETWORK = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "lustre", "gpfs", "beegfs"),
        *("gfs2", "ocfs2", "vboxsf", "prl_fs", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.s3fs"),
        *("fuse.rclone", "fuse.grpcfuse", "fuse.osxfs"),
    }
)
"""On these locks and shared memory of several processes are not to be relied on, as SQLite needs them."""

_OCTAL = re.compile(r"\\([0-7]{3})")


def filesystem(folder: Path, mounts: str | None = None) -> str:
    """The type of file system a folder lies on.

    Args:
        folder: an absolute path that is there.
        mounts: the text of /proc/self/mountinfo.
    """
    if mounts is None:
        mounts = ""
        with suppress(OSError):
            mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    best, found = -1, "unknown"
    place = folder.resolve()
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = Path(_OCTAL.sub(lambda match: chr(int(match.group(1), 8)), before.split()[4]))
        # Of mounts on the same point the last is the one that is seen.
        if place.is_relative_to(point) and len(point.parts) >= best:
            best, found = len(point.parts), after.split()[0]
    return found
