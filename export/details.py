"""What a result says of single layers: what a picture computes there, which form the exporter took, and why."""

from collections.abc import Mapping


def layer_lines(result: Mapping) -> list[str]:
    """A line for each layer that has something to tell, in the order of the network; none for most learners.

    Of a network that decides picture by picture (`layers`): mean multiply-accumulates, live inputs, winners, and the
    share of the channels that win for some pictures and lose for others (`dynamic_share`). Of layers that could be
    written in several forms (`forms`): the one taken, and the milliseconds of all, which is why. At last the whole
    network's (`whole`), which has the last word.
    """
    counted, forms, dynamic = (result.get(key, {}) for key in ("layers", "forms", "dynamic_share"))
    names = [*counted, *[name for name in forms if name not in counted]]
    width = max(map(len, names), default=0)
    lines: list[str] = []
    for name in names:
        parts = [_counted(counted[name], dynamic.get(name))] if name in counted else []
        parts += [_form(forms[name], result.get("milliseconds", {}).get(name, {}))] if name in forms else []
        lines.append(f"{name:{width}}  {'; '.join(parts)}")
    return lines + ([f"the whole network: {_times(result['whole'])} ms"] if result.get("whole") else [])


def _counted(row: Mapping, dynamic_share: float | None) -> str:
    changing = "" if dynamic_share is None else f", {100 * dynamic_share:.0f} % of its channels change with the picture"
    return (
        f"{row['macs'] / 1e6:.3f} of {row['dense_macs'] / 1e6:.3f} M MACs, reads {100 * row['read']:.0f} %, "
        f"makes {100 * row['made']:.0f} %{changing}"
    )


def _form(form: str, milliseconds: Mapping[str, float]) -> str:
    return f"{form} ({_times(milliseconds)} ms)" if milliseconds else form


def _times(milliseconds: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.3f}" for name, value in milliseconds.items())
