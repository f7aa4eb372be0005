"""Reads a page as a browser would that is offline: whole, balanced, and holding all it shows."""

import re
from html.parser import HTMLParser

VOID = {"br", "meta", "img"}


class Balance(HTMLParser):
    """Collects tags that are closed in the wrong order."""

    def __init__(self) -> None:
        super().__init__()
        self.open, self.wrong = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """As in <line/>: nothing is left open."""

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def read(path):
    text = path.read_text()
    balance = Balance()
    balance.feed(text)
    assert not balance.wrong
    assert not balance.open
    assert not re.search(r"(src|href)=\"(?!data:|#)", text), "the page must hold all it shows"
    assert "$" not in re.sub(r"<pre>.*?</pre>", "", text, flags=re.S), "a placeholder was left"
    return text
