"""A certificate authority for one test, made by the `openssl` command."""

import subprocess
from pathlib import Path

import attrs

EXTENSIONS = "basicConstraints=CA:FALSE\nsubjectAltName=DNS:{name},IP:127.0.0.1\n"


@attrs.frozen
class Pair:
    """A certificate and its key, both PEM files."""

    certificate: Path
    key: Path


class Authority:
    """Makes certificates that its own, `ca`, is the root of; all of it lies in `folder`."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self._folder = folder
        self._key = folder / f"{name}.key"
        self.ca = folder / f"{name}.pem"
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        self._run("req", "-x509", *curve, "-days", "2", "-subj", f"/CN={name}", "-keyout", self._key, "-out", self.ca)

    def issue(self, name: str, *, file: str = "") -> Pair:
        """A certificate for `name` and 127.0.0.1; `file` is how its files are called, else like `name`."""
        stem = self._folder / (file or name)
        pair = Pair(stem.with_suffix(".pem"), stem.with_suffix(".key"))
        request, extensions = stem.with_suffix(".csr"), stem.with_suffix(".ext")
        extensions.write_text(EXTENSIONS.format(name=name))
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        self._run("req", *curve, "-subj", f"/CN={name}", "-keyout", pair.key, "-out", request)
        signing = ("-CA", self.ca, "-CAkey", self._key, "-CAcreateserial", "-days", "2", "-extfile", extensions)
        self._run("x509", "-req", "-in", request, *signing, "-out", pair.certificate)
        return pair

    def _run(self, *words: str | Path) -> None:
        done = subprocess.run(["openssl", *words], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
