"""Which GPUs are idle, as nvidia-smi sees it."""

import shutil
import subprocess

from secateur.utils.errors import RunError

QUERY = ("nvidia-smi", "--query-gpu=index,memory.used,memory.total", "--format=csv,noheader,nounits")
# A GPU counts as idle while less than this share of its memory is in use.
IDLE_BELOW = 0.5


def idle_gpus() -> list[int] | None:
    """Indices of the idle GPUs, least used first; None on a machine without nvidia-smi.

    Raises:
        RunError: nvidia-smi is there but fails.
    """
    if shutil.which(QUERY[0]) is None:
        return None
    try:
        answer = subprocess.run(QUERY, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise RunError(f"nvidia-smi fails ({error}): repair the driver, or run on the CPU with --device=cpu") from error
    return rank_by_use(answer)


def rank_by_use(answer: str) -> list[int]:
    """The idle ones of nvidia-smi's lines `index, used MiB, total MiB`, least used first."""
    shares = {}
    for line in answer.splitlines():
        index, used, total = (part.strip() for part in line.split(","))
        if used.isdigit() and total.isdigit():  # a broken GPU shows "[N/A]"
            shares[int(index)] = int(used) / max(int(total), 1)
    return sorted((index for index, share in shares.items() if share < IDLE_BELOW), key=lambda index: shares[index])
