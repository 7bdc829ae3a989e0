"""The README shows every file of the packages, and nothing that is not there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("frostline", "stages", "flows")
ENTRY = re.compile(r"^(?P<indent> *)(?P<name>[\w.]+/?) {2,}\S")


def listed() -> set[str]:
    """The paths in the README's tree: a line is a name, two spaces or more, and what it is."""
    block = (ROOT / "README.md").read_text().split("## The tree", 1)[1].split("```", 2)[1]
    paths: set[str] = set()
    folders: list[str] = []
    for line in block.splitlines():
        if match := ENTRY.match(line):
            depth = len(match["indent"]) // 2
            folders = folders[:depth]
            path = "".join(folders) + match["name"]
            paths.add(path)
            if path.endswith("/"):
                folders.append(match["name"])
    return paths


def test_every_file_of_the_packages_is_in_the_readme_and_every_line_there_exists():
    here = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.name != "__init__.py"
    }
    entries = {path for path in listed() if path.startswith(PACKAGES)}
    files = {path for path in entries if not path.endswith("/")}
    assert files == here
    assert all((ROOT / path).is_dir() for path in entries - files)


def test_every_package_folder_is_in_the_readme():
    folders = {f"{path.parent.relative_to(ROOT)}/" for name in PACKAGES for path in (ROOT / name).rglob("__init__.py")}
    assert folders <= listed()
