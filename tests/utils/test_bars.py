import xml.etree.ElementTree as ET

import pytest

from secateur.utils.bars import GREEN, GREY, LABEL, VALUE, WIDTH, pairs_svg

SVG = "{http://www.w3.org/2000/svg}"


def bars(svg: str) -> list[tuple[str, float]]:
    return [(bar.get("fill"), float(bar.get("width"))) for bar in ET.fromstring(svg).iter(f"{SVG}rect")]


def test_lengths_are_in_proportion_to_the_largest_value():
    found = bars(pairs_svg("t", {"a": (8.0, 4.0), "b": (2.0, 1.0)}, "M"))
    whole = WIDTH - LABEL - VALUE
    assert [colour for colour, _ in found] == [GREY, GREEN, GREY, GREEN]
    assert [length for _, length in found] == pytest.approx([whole, whole / 2, whole / 4, whole / 8], abs=0.1)


def test_what_is_missing_has_no_bar_and_nothing_at_all_is_no_error():
    assert [colour for colour, _ in bars(pairs_svg("t", {"a": (8.0, None), "b": (None, 1.0)}, "M"))] == [GREY, GREEN]
    assert bars(pairs_svg("t", {"a": (0.0, 0.0)}, "M")) == [(GREY, 1.0), (GREEN, 1.0)]
    assert bars(pairs_svg("t", {}, "M")) == []


def test_texts_are_escaped_shortened_and_carry_the_unit():
    svg = pairs_svg("a < b", {"x" * 20 + "<&>" + "y" * 20: (1234.5, 0.01234)}, "ms")
    texts = [text.text for text in ET.fromstring(svg).iter(f"{SVG}text")]
    assert len(texts[0]) == 32
    assert texts[1:] == ["1234 ms", "0.0123 ms"]
    assert ET.fromstring(svg).get("aria-label") == "a < b"
