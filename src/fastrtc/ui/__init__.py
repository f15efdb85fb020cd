"""The Gradio component and the default Blocks, on the page's own JavaScript client."""

from __future__ import annotations

import re
from typing import Final

NEEDED: Final = (6, 10)
"""The Gradio whose HTML component can do what ours needs."""

try:
    from gradio import __version__ as found
except ImportError as error:
    raise ImportError('The Gradio UI needs an extra: pip install "fastrtc[ui]"') from error
if tuple(map(int, re.findall(r"\d+", found)[:2])) < NEEDED:
    raise ImportError(f'Gradio {found} is too old for the UI: pip install "fastrtc[ui]"')
