"""Version and commit survive every way that tapir travels: checkout, tag, sdist, wheel, a tree that knows nothing."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from tapir import version

REPOSITORY = Path(__file__).resolve().parent.parent
BUILD_FILES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md", "constraints.txt")


def git(tree: Path, *arguments: str) -> str:
    """Run git on `tree` with nothing of the developer's configuration, at a fixed moment."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tree),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "A",
        "GIT_AUTHOR_EMAIL": "a@example.org",
        "GIT_COMMITTER_NAME": "A",
        "GIT_COMMITTER_EMAIL": "a@example.org",
        # Half past eleven in the evening west of Greenwich: already the next day in UTC.
        "GIT_AUTHOR_DATE": "2025-11-17T23:30:00-05:00",
        "GIT_COMMITTER_DATE": "2025-11-17T23:30:00-05:00",
    }
    command = ["git", "-C", str(tree), *arguments]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.strip()


def commit_all(tree: Path) -> str:
    """Make `tree` a repository with one commit, and say its short sha."""
    git(tree, "init", "-q", "-b", "main")
    git(tree, "add", ".")
    git(tree, "commit", "-q", "-m", "A commit")
    return git(tree, "rev-parse", "--short=8", "HEAD")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with one file."""
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "file").write_text("1\n")
    commit_all(folder)
    return folder


def test_untagged_commit_is_local_with_the_utc_date_of_the_commit(tree: Path) -> None:
    sha = git(tree, "rev-parse", "--short=8", "HEAD")
    assert version.stamp_of_tree(tree) == (f"0.0.0+local20251118.{sha}", sha)


def test_clean_tag_is_a_release(tree: Path) -> None:
    git(tree, "tag", "v1.22.333")
    sha = git(tree, "rev-parse", "--short=8", "HEAD")
    assert version.stamp_of_tree(tree) == ("1.22.333", sha)


def test_changed_tree_on_a_tag_is_no_release(tree: Path) -> None:
    git(tree, "tag", "v1.2.3")
    (tree / "file").write_text("2\n")
    sha = git(tree, "rev-parse", "--short=8", "HEAD")
    assert version.stamp_of_tree(tree) == (f"0.0.0+local20251118.{sha}", f"{sha}+WiP")


@pytest.mark.parametrize("tag", ["1.2.3", "v1.2", "v1.2.3rc1", "release"])
def test_other_tags_are_no_release(tree: Path, tag: str) -> None:
    git(tree, "tag", tag)
    assert (version.stamp_of_tree(tree)[0] or "").startswith("0.0.0+local20251118.")


def test_tree_outside_git_says_what_its_files_say(tmp_path: Path) -> None:
    (tmp_path / "VERSION").write_text("1.2.3\n")
    (tmp_path / "COMMIT").write_text("c7b203f8\n")
    assert version.stamp_of_tree(tmp_path) == ("1.2.3", "c7b203f8")


def test_tree_unpacked_inside_somebodys_repository_does_not_take_over_its_version(tree: Path) -> None:
    inner = tree / "inner"
    inner.mkdir()
    assert version.stamp_of_tree(inner) == (None, None)


def test_repository_without_a_commit_knows_nothing(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    assert version.stamp_of_tree(tmp_path) == (None, None)


def test_tree_that_knows_nothing_looks_bad(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "tapir", tmp_path / "tapir", ignore=shutil.ignore_patterns("VERSION", "COMMIT"))
    assert ask_version(tmp_path) == "BAD-VERSION BAD-COMMIT"


def test_sdist_and_the_wheel_made_from_it_keep_version_and_commit(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in BUILD_FILES:
        if (REPOSITORY / name).exists():
            shutil.copy(REPOSITORY / name, source)
    leave_out = shutil.ignore_patterns("__pycache__", "VERSION", "COMMIT", "*.egg-info", "*.so")
    for package in ("actors", "tapir"):
        shutil.copytree(REPOSITORY / package, source / package, ignore=leave_out)
    sha = commit_all(source)
    expected = f"0.0.0+local20251118.{sha}"

    build("--sdist", source, tmp_path / "dist")
    (sdist,) = (tmp_path / "dist").glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        # Not filter="data": Debian 12's Python 3.11.2 does not have the argument.
        archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
        archive.extractall(tmp_path / "unpacked")  # noqa: S202 - we have just made it
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert (unpacked / "VERSION").read_text() == expected + "\n"
    assert (unpacked / "COMMIT").read_text() == sha + "\n"

    # Where nothing compiles, kernels stay Python.
    build("--wheel", unpacked, tmp_path / "dist", CC="false")
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")  # noqa: S202 - we have just made it
        names = set(archive.namelist())
    assert {"actors/py.typed", "tapir/py.typed", "tapir/VERSION", "tapir/COMMIT"} <= names
    modules = {str(path.relative_to(source)) for room in ("actors", "tapir") for path in (source / room).rglob("*.py")}
    assert modules <= names
    assert not any(name.startswith(("tests", "docs", "deploy")) or name.endswith((".c", ".so")) for name in names)
    assert ask_version(tmp_path / "installed") == f"{expected} {sha}"


def test_constraints_name_one_exact_version_for_every_dependency() -> None:
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    pinned = {canonical(line.split("==")[0]) for line in lines if re.fullmatch(r"[\w.-]+==[\w.]+", line)}
    assert len(pinned) == len([line for line in lines if line and not line.startswith("#")])
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    assert {canonical(re.split(r"[<>=~!\[]", line)[0]) for line in wanted} <= pinned


def canonical(name: str) -> str:
    """A project's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def build(kind: str, source: Path, destination: Path, **environment: str) -> None:
    """Build without isolation: the environment has setuptools, and the test needs no network."""
    command = [sys.executable, "-m", "build", "--no-isolation", kind, "--outdir", str(destination), str(source)]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def ask_version(folder: Path) -> str:
    """What a fresh interpreter says that sees only the tapir in `folder`."""
    code = "from tapir import version; print(version.version(), version.commit())"
    command = [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {str(folder)!r}); {code}"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()
