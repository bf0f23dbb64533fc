"""A page in a real, headless Chromium."""

import html
import json
import pathlib
import re
import shutil
import subprocess
from collections.abc import Sequence

BROWSER = shutil.which("chromium")
MEASURE = """
onload = () => {
  document.title = JSON.stringify([...document.querySelectorAll('iframe')].map(frame => {
    const page = frame.contentDocument, style = element => frame.contentWindow.getComputedStyle(element);
    const drawn = [...page.querySelectorAll('svg')].filter(svg => !svg.querySelector('rect[fill="white"]'));
    const labels = drawn.flatMap(svg => [...svg.querySelectorAll('text')]);
    const texts = [...page.querySelectorAll('td, th, li, code'), ...labels];
    const colours = texts.map(e => e.matches('text') ? style(e).fill : style(e).color);
    return {width: page.documentElement.scrollWidth, colours: [...new Set(colours)]};
  }));
}
"""


def measured(page: str, widths: Sequence[int], folder: pathlib.Path, dark: bool = False) -> list[dict]:
    """For each width of the window the "width" that the page takes, and the "colours" of its texts.

    Pictures with a white ground of their own are left out.
    """
    frames = "".join(f'<iframe width="{w}" height="800" srcdoc="{html.escape(page)}"></iframe>' for w in widths)
    path = folder / "frames.html"
    path.write_text(f"<!doctype html><body>{frames}<script>{MEASURE}</script></body>")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={max(widths) + 100},1000"]
    command += ["--blink-settings=preferredColorScheme=0"] if dark else []
    command += ["--virtual-time-budget=4000", "--dump-dom", path.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    return json.loads(html.unescape(re.search(r"<title>(.*?)</title>", shown, re.DOTALL).group(1)))
