"""What a result says of single layers: what a picture computes there, which form the exporter took, and why."""

from collections.abc import Mapping


def layer_lines(result: Mapping) -> list[str]:
    """A line for each layer that has something to tell, in the order of the network; none for most learners.

    Of a network that decides picture by picture (`layers`): mean multiply-accumulates, live inputs, winners. Of layers
    that could be written in several forms (`forms`): the one taken, and the milliseconds of all, which is why.
    """
    counted, forms = result.get("layers", {}), result.get("forms", {})
    names = [*counted, *[name for name in forms if name not in counted]]
    width = max(map(len, names), default=0)
    lines = []
    for name in names:
        parts = [_counted(counted[name])] if name in counted else []
        parts += [_form(forms[name], result.get("milliseconds", {}).get(name, {}))] if name in forms else []
        lines.append(f"{name:{width}}  {'; '.join(parts)}")
    return lines


def _counted(row: Mapping) -> str:
    return (
        f"{row['macs'] / 1e6:.3f} of {row['dense_macs'] / 1e6:.3f} M MACs, reads {100 * row['read']:.0f} %, "
        f"makes {100 * row['made']:.0f} %"
    )


def _form(form: str, milliseconds: Mapping[str, float]) -> str:
    times = ", ".join(f"{name} {value:.3f}" for name, value in milliseconds.items())
    return f"{form} ({times} ms)" if times else form
