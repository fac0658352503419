/*
 * What folium's own elements expect of the page, without jQuery and Font Awesome.
 *
 * folium.Popup calls $(html)[0], Map.keep_in_front calls $(document).ready(f), and folium.Icon
 * calls L.AwesomeMarkers.icon(options). Each stand-in steps aside if the real thing is loaded.
 */
(function () {
  "use strict";
  if (typeof window.$ === "undefined") {
    window.$ = function (what) {
      if (typeof what !== "string") {
        return { ready: function (callback) { window.setTimeout(callback, 0); } };
      }
      const holder = document.createElement("template");
      holder.innerHTML = what.trim();
      return [holder.content.firstElementChild];
    };
  }
  if (!L.AwesomeMarkers) {
    L.AwesomeMarkers = {
      icon: function (options) {
        const pin = document.createElement("span");
        pin.className = "fc-pin";
        pin.style.backgroundColor = String((options && options.markerColor) || "blue");
        return L.divIcon({
          html: pin, className: "", iconSize: [22, 22], iconAnchor: [11, 24], popupAnchor: [0, -22],
        });
      },
    };
  }
})();
