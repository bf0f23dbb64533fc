"""Secateur prunes Keras networks by published methods; the models that come out are really smaller and faster."""

from typing import Any

__all__ = ["prune"]  # noqa: F822


def __getattr__(name: str) -> Any:
    # TensorFlow takes seconds to import: only who prunes waits for it.
    if name == "prune":
        from secateur.nets.api import prune

        return prune
    raise AttributeError(f"secateur has no {name}")
