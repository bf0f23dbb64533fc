"""Which GPUs are idle, as nvidia-smi sees it, and whether those that were chosen are used."""

import os
import shutil
import subprocess

from secateur.utils.errors import RunError

QUERY = ("nvidia-smi", "--query-gpu=index,memory.used,memory.total", "--format=csv,noheader,nounits")
# A GPU counts as idle while less than this share of its memory is in use.
IDLE_BELOW = 0.5
# The variable that tells the program that a GPU was chosen for it; empty: the CPU was.
MARK = "SECATEUR_GPU"


def has_nvidia_smi() -> bool:
    """Whether this machine has NVIDIA's driver, and so GPUs."""
    return shutil.which(QUERY[0]) is not None


def idle_gpus() -> list[int] | None:
    """Indices of the idle GPUs, least used first; None on a machine without nvidia-smi.

    Raises:
        RunError: nvidia-smi is there but fails.
    """
    if not has_nvidia_smi():
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


def check_found(found: bool) -> None:
    """Check that the program sees the GPU that was chosen for it, lest it quietly trains on the CPU.

    Args:
        found: whether TensorFlow sees a GPU.

    Raises:
        RunError: it sees none.
    """
    if os.environ.get(MARK) and not found:
        raise RunError(
            "a GPU was chosen, but TensorFlow finds none (--verbose shows its reason): the driver is too old, or "
            "CUDA's libraries are missing, which scripts/run_local.sh installs where nvidia-smi is and "
            "docker build --target gpu puts into the image. --device=cpu runs on the CPU"
        )
