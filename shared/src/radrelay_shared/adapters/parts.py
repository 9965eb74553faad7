"""What is indexed of a text so that it is found by any part of it: what it says from each of its letters on."""

from __future__ import annotations

import re

LONGEST = 16  # letters that are indexed of a part; what stands behind them is compared in the text itself


def parts(text: str) -> list[str]:
    return [text[place : place + LONGEST] for place in range(len(text))]


def told(pattern: str) -> str:
    """The longest part that every text that matches the pattern has, as far as it is indexed; "" if there is none."""
    return max(re.split(r"[*?]", pattern), key=len)[:LONGEST]
