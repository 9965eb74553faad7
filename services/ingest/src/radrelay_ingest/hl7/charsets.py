"""The character set that a message says it is in (MSH-18, table 0211), decoded before anything is split.

In ISO 2022 and GB 18030 a byte of a character may look like a delimiter, so the text is split, never the bytes.
"""

from __future__ import annotations

from radrelay_ingest.hl7.errors import TABLE_VALUE, Rejected

CODECS = {
    "": "utf-8",  # ASCII where the sender follows the standard; UTF-8 is the same there
    "ASCII": "utf-8",
    **{f"8859/{part}": f"iso8859-{part}" for part in (*range(1, 12), *range(13, 17))},
    "UNICODE": "utf-8",
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",
    "GB 18030-2000": "gb18030",
    "GB 18030": "gb18030",
    "GB18030": "gb18030",
    "BIG-5": "big5",
    "KS X 1001": "euc_kr",
    "ISO IR6": "ascii",
    "ISO IR13": "shift_jis",  # JIS X 0201: the single bytes of Shift JIS
    "ISO IR14": "shift_jis",
    "ISO IR87": "iso2022_jp_ext",
    "ISO IR159": "iso2022_jp_ext",
}
JAPANESE = ("ISO IR159", "ISO IR87")  # they contain ASCII and switch by escape sequences (ISO 2022)
ESCAPE = b"\x1b"


def codec_of(names: str, message: bytes, repeat: str = "~") -> str:
    """Python's codec for MSH-18, which may repeat: the first is the default, others come by escape sequences."""
    said = [name.strip().upper().replace("ISO-IR", "ISO IR") for name in names.split(repeat)]
    for name in said:
        if name not in CODECS:
            raise Rejected("this character set is not known here", TABLE_VALUE, "MSH^1^18")
    if switching := [name for name in JAPANESE if name in said]:
        return CODECS[switching[0]]
    if "KS X 1001" in said and ESCAPE in message:
        return "iso2022_kr"
    return CODECS[said[0] or next((name for name in said if name), "")]


def decoded(message: bytes, codec: str) -> str:
    """The text; raises `Rejected` if it is not in the character set that it says it is in."""
    try:
        return message.decode(codec)
    except UnicodeError:
        raise Rejected("this is not the character set that MSH-18 says", TABLE_VALUE, "MSH^1^18") from None
