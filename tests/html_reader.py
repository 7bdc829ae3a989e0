"""A page as its tags, in order; that they are balanced is checked on the way."""

from html.parser import HTMLParser

VOID = {"meta", "img", "br", "link", "input", "hr"}
Tag = tuple[str, dict[str, str | None]]  # its name, its attributes


def tags(text: str) -> list[Tag]:
    """All tags that open; fails where one closes that is not the last to have opened, or none does."""
    reader = _Reader()
    reader.feed(text)
    assert reader.open == []
    return reader.tags


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[Tag] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
