"""A map page that opens with no network at all: one file with its data, scripts and styles.

Leaflet is written into the file from the installed package ``django-js-lib-leaflet``; data travels
as JSON and reaches the page only as text, never as markup.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import folium
from branca.element import Element, Figure
from folium.template import Template

from .errors import MissingDependencyError
from .terms import labels

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = ["LANGUAGE_TAGS", "LegendMap", "OfflineMap", "Verbatim", "page_head"]

LANGUAGE_TAGS = {"zh": "zh-CN", "en": "en"}
INK = "#1b2733"

_LEAFLET = "django-js-lib-leaflet"


class Verbatim(Element):
    """Text that goes into the page as it is.

    branca renders the children of a figure as Jinja templates; a village called ``{{ 7 * 7 }}``,
    and Leaflet's minified script, must not be.

    Parameters
    ----------
    text : str
        The markup.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def render(self, **_kwargs: Any) -> str:
        """Give the text, untouched."""
        return self._text


class OfflineMap(folium.Map):
    """A `folium.Map` that loads nothing from the network.

    Folium layers are added to it as to any other map (markers, popups, GeoJSON, feature groups and
    their control work; plug-ins that fetch scripts of their own still do so, and so do tiles).

    Parameters
    ----------
    payload : mapping
        What the page draws: plain numbers, strings, lists and mappings.
    lang : {"zh", "en"}
        Language of the page.
    bounds : sequence of float
        West, south, east and north in degrees, WGS-84.

    See Also
    --------
    coverage_map : Make one from a coverage report.
    """

    default_js: Sequence[tuple[str, str]] = []
    default_css: Sequence[tuple[str, str]] = []

    _template = Template(
        """
        {% macro script(this, kwargs) %}
            var {{ this.get_name() }} = L.map({{ this.get_name()|tojson }}, {
                center: {{ this.location|tojson }},
                ...{{ this.options|tojavascript }}
            });
            facilityCoverage.start({{ this.get_name() }}, {{ this.get_name()|tojson }});
            {%- if this.objects_to_stay_in_front %}
            (function () {
                const bringToFront = function () {
                    {%- for item in this.objects_to_stay_in_front %}
                    {{ item.get_name() }}.bringToFront();
                    {%- endfor %}
                };
                {{ this.get_name() }}.on("overlayadd", bringToFront);
                window.setTimeout(bringToFront, 0);
            })();
            {%- endif %}
        {% endmacro %}
        """
    )

    def __init__(self, payload: Mapping[str, Any], *, lang: str, bounds: Sequence[float]) -> None:
        west, south, east, north = bounds
        super().__init__(
            location=[(south + north) / 2, (west + east) / 2],
            tiles=None,
            zoom_start=10,
            zoom_snap=0.1,
            zoom_delta=0.5,
            wheel_px_per_zoom_level=100,
            max_zoom=19,
        )
        self._payload = payload
        self._lang = lang
        self._id = hashlib.sha256(_safe_json(payload).encode()).hexdigest()[:32]

    def render(self, **kwargs: Any) -> None:
        """Write the page's parts into the figure that holds the map."""
        figure = self.get_root()
        if not isinstance(figure, Figure):
            raise TypeError("an OfflineMap can only be rendered inside a branca Figure")
        _name_in_order(self)
        figure.title = html.escape(str(self._payload["title"]))
        figure.header.add_child(Verbatim(page_head()), name="facility_coverage_head")
        figure.html.add_child(
            Verbatim(_page_body(self._payload, name=self.get_name(), lang=self._lang)),
            name=f"{self.get_name()}_page",
        )
        super().render(**kwargs)


class LegendMap(OfflineMap):
    """An offline map of folium's own layers, with a title, a legend and the stamps around it.

    Its payload has `title`, `subtitle`, `stamp`, `source` and `date` as text, and `legend` as
    markup.
    """

    _template = Template(
        """
        {% macro script(this, kwargs) %}
            var {{ this.get_name() }} = L.map({{ this.get_name()|tojson }}, {
                center: {{ this.location|tojson }},
                ...{{ this.options|tojavascript }}
            });
            L.control.scale({imperial: false}).addTo({{ this.get_name() }});
        {% endmacro %}
        """
    )

    def render(self, **kwargs: Any) -> None:
        """Write the page's parts into the figure that holds the map."""
        figure = self.get_root()
        if not isinstance(figure, Figure):
            raise TypeError("the map can only be rendered inside a branca Figure")
        _name_in_order(self)
        figure.title = html.escape(str(self._payload["title"]))
        figure.header.add_child(Verbatim(page_head()), name="facility_coverage_head")
        body = _legend_body(self._payload, name=self.get_name(), lang=self._lang)
        figure.html.add_child(Verbatim(body), name=f"{self.get_name()}_page")
        super(OfflineMap, self).render(**kwargs)


def _legend_body(payload: Mapping[str, Any], *, name: str, lang: str) -> str:
    """Give the page around the map as markup."""
    text = labels("map", lang)
    safe = {key: html.escape(str(payload[key])) for key in ("title", "subtitle", "stamp", "source")}
    north = (
        '<svg width="24" height="32" viewBox="0 0 24 32" aria-hidden="true">'
        f'<path d="M12 1L20 31L12 25Z" fill="{INK}"/>'
        f'<path d="M12 1L4 31L12 25Z" fill="#fff" stroke="{INK}"/></svg>'
    )
    corner = "position:absolute;z-index:800"
    return f"""
<div class="fc-page" id="{name}_page" lang="{LANGUAGE_TAGS[lang]}">
  <header class="fc-head"><h1 class="fc-title">{safe["title"]}</h1>
  <p class="fc-subtitle"><span>{safe["subtitle"]}</span></p></header>
  <div class="fc-main"><div class="fc-stage">
    <div class="folium-map" id="{name}"></div>
    <div class="fc-north" style="{corner};right:10px;top:10px">{north}{text["north"]}</div>
    <div class="fc-legend" style="{corner};left:10px;bottom:32px">{payload["legend"]}</div>
  </div></div>
  <footer class="fc-foot"><span class="fc-stamp">{safe["stamp"]}</span>
  <span class="fc-source">{text["source"]}{text["colon"]}{safe["source"]}</span>
  <span>{text["drawn_on"]}{text["colon"]}{payload["date"]}</span></footer>
</div>
"""


def _name_in_order(chart: OfflineMap) -> None:
    """Give what stands on a map names that are the same each time; branca's own are random."""
    waiting, number = list(chart._children.values()), 0  # noqa: SLF001 - branca has no other way
    while waiting:
        element = waiting.pop(0)
        number += 1
        element._id = f"{chart._id}_{number}"  # noqa: SLF001
        waiting.extend(element._children.values())  # noqa: SLF001


def _web_file(name: str) -> str:
    return files("facility_coverage.web").joinpath(name).read_text(encoding="utf-8")


def _leaflet_folder() -> Traversable:
    try:
        folder = files("js_lib_leaflet") / "static" / "js_lib_leaflet"
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"the map needs the package {_LEAFLET}, which carries Leaflet: pip install {_LEAFLET}"
        ) from error
    if not (folder / "leaflet.js").is_file():
        raise MissingDependencyError(
            f"the installed package {_LEAFLET} holds no leaflet.js: reinstall it"
        )
    return folder


def _data_uri(image: Traversable) -> str:
    return "data:image/png;base64," + base64.b64encode(image.read_bytes()).decode("ascii")


def _inline_script(text: str) -> str:
    # A closing tag inside a string would end the script early.
    return "<script>\n" + text.replace("</script", "<\\/script") + "\n</script>"


@cache
def page_head() -> str:
    """Give the styles and scripts of the page: Leaflet's, then ours.

    Raises
    ------
    MissingDependencyError
        The package that carries Leaflet is not installed.
    """
    folder = _leaflet_folder()
    css = (folder / "leaflet.css").read_text(encoding="utf-8")
    js = (folder / "leaflet.js").read_text(encoding="utf-8")
    js = "\n".join(line for line in js.splitlines() if not line.startswith("//# sourceMappingURL"))
    for image in ("layers.png", "layers-2x.png", "marker-icon.png"):
        css = css.replace(f"url(images/{image})", f"url({_data_uri(folder / 'images' / image)})")
    icons = {
        "iconUrl": _data_uri(folder / "images" / "marker-icon.png"),
        "iconRetinaUrl": _data_uri(folder / "images" / "marker-icon-2x.png"),
        "shadowUrl": _data_uri(folder / "images" / "marker-shadow.png"),
    }
    # Leaflet otherwise puts a guessed folder before the names of its own images.
    marker = (
        "delete L.Icon.Default.prototype._getIconUrl;\n"
        f"L.Icon.Default.mergeOptions({_safe_json(icons)});"
    )
    return "\n".join(
        [
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<style>\n{css}\n</style>",
            f"<style>\n{_web_file('map.css')}\n</style>",
            _inline_script(js),
            _inline_script(marker),
            _inline_script(_web_file("folium_shim.js")),
            _inline_script(_web_file("map.js")),
        ]
    )


def _safe_json(value: Any) -> str:
    r"""Write JSON that can stand inside a ``<script>`` element, whatever the names hold.

    Examples
    --------
    >>> _safe_json({"name": "</script>"})
    '{"name":"\\u003c/script\\u003e"}'
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _page_body(payload: Mapping[str, Any], *, name: str, lang: str) -> str:
    """Give the page around the map. What must be seen even on paper stands here as markup."""
    text = payload["text"]
    safe = {key: html.escape(str(payload[key])) for key in ("title", "subtitle", "stamp", "source")}
    colon = text["colon"]
    review = html.escape(payload["review_number"]) or '<span class="fc-blank"></span>'
    return f"""
<div class="fc-page" id="{name}_page" lang="{LANGUAGE_TAGS[lang]}">
  <header class="fc-head">
    <h1 class="fc-title">{safe["title"]}</h1>
    <p class="fc-subtitle"><span>{safe["subtitle"]}</span><span class="fc-shown"></span></p>
  </header>
  <div class="fc-main">
    <div class="fc-stage"><div class="folium-map" id="{name}"></div></div>
    <aside class="fc-panel" aria-label="{html.escape(text["panel"])}"></aside>
  </div>
  <footer class="fc-foot">
    <span class="fc-stamp">{safe["stamp"]}</span>
    <span class="fc-source">{text["source"]}{colon}{safe["source"]}</span>
    <span class="fc-review">{text["review_number"]}{colon}{review}</span>
  </footer>
  <noscript>{text["no_script"]}</noscript>
  <script type="application/json" id="{name}_data">{_safe_json(payload)}</script>
</div>
"""
