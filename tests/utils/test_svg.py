import xml.etree.ElementTree as ET

from secateur.utils.svg import picture

SVG = "{http://www.w3.org/2000/svg}"


def test_a_picture_has_its_title_its_ground_and_its_parts():
    root = ET.fromstring(picture('a < "b"', 100, 50, ['<circle r="1"/>'], font_size=9, left=7))
    assert (root.get("viewBox"), root.get("font-size"), root.get("aria-label")) == ("0 0 100 50", "9", 'a < "b"')
    (ground,) = root.iter(f"{SVG}rect")
    assert (ground.get("width"), ground.get("height"), ground.get("fill")) == ("100", "50", "white")
    (title,) = root.iter(f"{SVG}text")
    assert (title.text, title.get("x")) == ('a < "b"', "7")
    assert len(list(root.iter(f"{SVG}circle"))) == 1


def test_inside_a_page_it_has_neither_ground_nor_title():
    root = ET.fromstring(picture("t", 10, 10, [], left=None))
    assert list(root) == []
    assert root.get("aria-label") == "t"
