"""Tables in text."""

from kanref import words


def test_aligned_puts_the_first_column_left_and_the_others_right():
    assert words.aligned([["case", "ms", ""], ["a", 12.5, "ok"], ["longer", 3, ""]]) == (
        "case      ms\na       12.5  ok\nlonger     3"
    )
