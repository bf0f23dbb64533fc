"""Where data lie: the flag, else `path.conf`."""

import pathlib

from secateur.utils.errors import RunError


def read_path_conf(path: pathlib.Path) -> dict[str, str]:
    """The `key = value` lines of a path.conf; `#` begins a comment, `None` means not set. No file: no entries.

    Raises:
        RunError: a line that is neither.
    """
    if not path.is_file():
        return {}
    entries = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        line = line.split("#", 1)[0].strip()
        if not line:
            continue
        key, separator, value = (part.strip() for part in line.partition("="))
        if not separator or not key:
            raise RunError(f"{path}, line {number}: '{line}' must read 'key = value'")
        if value not in ("", "None"):
            entries[key] = value
    return entries


def data_dir_for(dataset: str, flag: str | None, conf: pathlib.Path) -> pathlib.Path | None:
    """The folder of a data set: the flag's value, else the line `data_dir_local_<dataset>` of path.conf, else None."""
    value = flag or read_path_conf(conf).get(f"data_dir_local_{dataset}")
    return pathlib.Path(value).expanduser() if value else None
