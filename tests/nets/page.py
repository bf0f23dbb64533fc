"""Reading `report.html` in tests."""

import html.parser

ALONE = {"meta", "rect", "line", "polyline"}


class Page(html.parser.HTMLParser):
    """Collects headings, code blocks and references; complains about tags that do not close in order."""

    def __init__(self, text: str):
        super().__init__()
        self.headings: list[str] = []
        self.code: list[str] = []
        self.references: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.references += [value for name, value in attrs if name in ("src", "href")]
        if tag not in ALONE:
            self._open.append(tag)
        if tag == "code":
            self.code.append("")

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if self._open[-1:] == ["h2"]:
            self.headings.append(data)
        if self._open[-1:] == ["code"]:
            self.code[-1] += data
