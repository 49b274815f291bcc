"""QR codes as inline pictures: black on white in both schemes, since cameras want it so."""

from __future__ import annotations

from typing import Final

import segno

_QUIET: Final = 4  # modules around the code, as the standard asks


def picture(text: str) -> str:
    """Return an inline SVG of a text's QR code, error level M; of ours alone, so safe to show."""
    code = segno.make(text, error="m", micro=False)
    svg: str = code.svg_inline(
        border=_QUIET, dark="#000", light="#fff", svgclass="qr", omitsize=True
    )
    return svg
