"""How much memory a `.tflite` needs: a process of its own loads and runs it."""

import json
import pathlib
import subprocess
import sys


def peak_memory(path: pathlib.Path | str) -> int | None:
    """Bytes of resident memory that loading the file and running it once add at their peak; None where unknown.

    Weights and activations, LiteRT on one thread; interpreter and libraries are not counted.
    """
    command = [sys.executable, __file__, str(path)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return json.loads(found.stdout) if found.returncode == 0 else None


def _status(field: str) -> int:
    """A line of /proc/self/status in bytes."""
    lines = pathlib.Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def _main() -> None:
    # Imported here: only the child process pays for it.
    from ai_edge_litert.interpreter import Interpreter

    # Sets the high-water mark back to what is resident now (Linux).
    pathlib.Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _status("VmRSS")
    interpreter = Interpreter(model_path=sys.argv[1], num_threads=1)
    interpreter.allocate_tensors()
    interpreter.invoke()
    print(json.dumps(_status("VmHWM") - before))


if __name__ == "__main__":
    _main()
