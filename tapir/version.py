"""Which tapir this is: a version and a commit, both logged first by every daemon.

Three places know them, tried in this order:

1. the installed package: files VERSION and COMMIT beside this module, written when the wheel was built;
2. a git checkout: a clean tree on a tag vX.Y.Z is X.Y.Z, everything else is 0.0.0+local<date>.<short sha>, the date
   being the commit's (UTC), so that building one commit twice gives one version. The commit is marked `+WiP` when the
   tree has changes of its own;
3. an unpacked source distribution: files VERSION and COMMIT in its root.

A tree that has none of them says BAD-VERSION and BAD-COMMIT, which is meant to look as bad as it is: such a build
cannot be told from any other. setup.py runs this module by its path, so it imports nothing beyond the standard library.
"""

import functools
import os
import re
import subprocess
from pathlib import Path

BAD_VERSION = "BAD-VERSION"
BAD_COMMIT = "BAD-COMMIT"

_PACKAGE = Path(__file__).resolve().parent
_RELEASE = re.compile(r"v(\d+\.\d+\.\d+)")


def version() -> str:
    """X.Y.Z for a release, 0.0.0+local<date>.<sha> for anything else, BAD-VERSION where nobody knows."""
    return _stamp()[0] or BAD_VERSION


def commit() -> str:
    """The short sha this was built from, `+WiP` after it if the tree had changes, or BAD-COMMIT where nobody knows."""
    return _stamp()[1] or BAD_COMMIT


def stamp_of_tree(root: Path) -> tuple[str | None, str | None]:
    """Version and commit of the source tree at `root`; None for what it does not know."""
    # Only a tree that is itself a repository is asked: a source distribution unpacked inside
    # somebody's repository must not take over that repository's version.
    if (root / ".git").exists():
        return _version_of_git(root), _git(root, "describe", "--always", "--exclude=*", "--abbrev=8", "--dirty=+WiP")
    return _read(root / "VERSION"), _read(root / "COMMIT")


@functools.cache
def _stamp() -> tuple[str | None, str | None]:
    installed = _read(_PACKAGE / "VERSION"), _read(_PACKAGE / "COMMIT")
    return installed if any(installed) else stamp_of_tree(_PACKAGE.parent)


def _version_of_git(root: Path) -> str | None:
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    for tag in (_git(root, "tag", "--points-at", "HEAD") or "").split():
        release = _RELEASE.fullmatch(tag)
        if release and changed == "":
            return release.group(1)
    # Two fields of one commit, `20251118 c7b203f8`, in UTC wherever the committer sat.
    local = _git(root, "log", "-1", "--format=%cd %h", "--date=format-local:%Y%m%d", "--abbrev=8")
    return "0.0.0+local" + local.replace(" ", ".") if local else None


def _git(root: Path, *arguments: str) -> str | None:
    """What git says, or None where there is no git, no commit, or a repository that git refuses to trust."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed words only
            ["git", "-C", str(root), *arguments],  # noqa: S607 - git of the PATH, as the developer's shell runs it
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
            env={**os.environ, "TZ": "UTC"},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None
