/*
 * The coverage map. One namespace (facilityCoverage), no library but Leaflet, no build step.
 *
 * Names from the data reach the page only through textContent and canvas text, never as markup.
 * Polygons of units are SVG (they answer the pointer and carry patterns that survive grey print);
 * everything else is painted on one canvas that lets the pointer through.
 */
window.facilityCoverage = (function () {
  "use strict";

  const STEP = 1e-5;
  const SVG = "http://www.w3.org/2000/svg";
  const FONT = '"Noto Sans CJK SC","Source Han Sans SC","Microsoft YaHei","PingFang SC",sans-serif';
  const DASH = "—";

  // Fill, the ink of its pattern, and the colour of small dots. Patterns tell states apart in grey.
  const STATES = {
    covered: { fill: "#1A9850", ink: null, dot: "#0f6b36", opacity: 0.5 },
    shared: { fill: "#4A90C8", ink: "#ffffff", pattern: "level", dot: "#1f66a0", opacity: 0.62 },
    near: { fill: "#F2B134", ink: "#8a5a00", pattern: "dots", dot: "#a86a00", opacity: 0.6 },
    uncovered: { fill: "#D73027", ink: "#7d120c", pattern: "rising", dot: "#a81a13", opacity: 0.62 },
    unknown: { fill: "#e4e4e0", ink: "#8b8f94", pattern: "cross", dot: "#6b7075", opacity: 0.95 },
    not_applicable: { fill: "#f4f1e8", ink: null, dot: "#8a8f94", opacity: 0.9 },
  };
  const ROADS = {
    path: { line: "#8d8878", width: 0.6, casing: 0, from: 11.25, dash: [3, 2] },
    local: { line: "#fdfcf8", edge: "#8f8b80", width: 0.6, casing: 0.35, from: 0 },
    tertiary: { line: "#ffffff", edge: "#77736a", width: 1.1, casing: 0.5, from: 0 },
    secondary: { line: "#fbeeca", edge: "#7c705a", width: 1.7, casing: 0.7, from: 0 },
    primary: { line: "#fbd38a", edge: "#7d5a26", width: 2.2, casing: 0.8, from: 0 },
    trunk: { line: "#f4a45c", edge: "#7c431c", width: 2.8, casing: 0.9, from: 0 },
  };
  const SHAPES = {
    comprehensive_service: "square", clinic: "cross", day_care: "cross",
    fitness_ground: "circle", playground: "circle", culture_centre: "hexagon",
    civilization_station: "hexagon", school: "hexagon", kindergarten: "hexagon",
    police_room: "triangle", emergency_shelter: "triangle",
  };
  const TRADES = new Set(["convenience_store", "supermarket", "market", "breakfast", "pharmacy",
    "barber", "repair", "housekeeping", "parcel"]);
  // A project's shape tells its nature, in grey print too.
  const NATURES = {
    new_build: "square", extension: "hexagon", sharing: "circle", rent_purchase: "diamond",
    internal_refit: "diamond", operation: "triangle", verify: "cross", road_link: "diamond",
  };
  // What a map is about stands out: its layers, and how strongly each state is filled.
  const THEMES = {
    coverage: { layers: { projects: false, circles: true, demand: true }, strength: {} },
    gaps: {
      layers: { projects: false, circles: false, demand: true },
      strength: { covered: 0.16, shared: 0.16, near: 1.25, uncovered: 1.25, unknown: 1 },
    },
    layout: {
      layers: { projects: true, circles: false, demand: false },
      strength: { covered: 0.45, shared: 0.45, near: 0.45, uncovered: 0.45, unknown: 0.6 },
    },
  };
  const CROWDED = 3000;  // points; from here on only one of those that would hide one another is drawn
  const SETTINGS = ["rural", "urban", "all"];
  const MEASURES = ["units", "people"];
  const INK = "#1b2733";
  const PROJECT_INK = "#6a1b8a";
  const CIRCLE_INK = "#3f2d7e";

  /* ---------------------------------------------------------------- small helpers */

  function element(tag, attributes, children) {
    const made = document.createElement(tag);
    Object.keys(attributes || {}).forEach(function (name) {
      if (name === "text") made.textContent = attributes[name];
      else if (name === "on") {
        Object.keys(attributes.on).forEach((event) => made.addEventListener(event, attributes.on[event]));
      } else if (attributes[name] !== null && attributes[name] !== undefined) {
        made.setAttribute(name, attributes[name]);
      }
    });
    (children || []).forEach((child) => child && made.appendChild(
      typeof child === "string" ? document.createTextNode(child) : child));
    return made;
  }

  function svgElement(tag, attributes, children) {
    const made = document.createElementNS(SVG, tag);
    Object.keys(attributes || {}).forEach((name) => made.setAttribute(name, attributes[name]));
    (children || []).forEach((child) => made.appendChild(child));
    return made;
  }

  function clear(node) {
    while (node.firstChild) node.removeChild(node.firstChild);
  }

  function isNumber(value) {
    return typeof value === "number" && isFinite(value);
  }

  function whole(value) {
    return isNumber(value) ? Math.round(value).toLocaleString("en-US") : DASH;
  }

  function oneDecimal(value) {
    return isNumber(value) ? value.toFixed(1) : DASH;
  }

  function percent(share) {
    return isNumber(share) ? (share * 100).toFixed(1) + "%" : DASH;
  }

  function wordOf(column, index) {
    return column.words[column.at[index]];
  }

  function clamp(value, low, high) {
    return Math.min(high, Math.max(low, value));
  }

  /* ---------------------------------------------------------------- patterns */

  // Each state's fill as an SVG pattern; one definition serves units and legend alike.
  function patternDefinitions(prefix) {
    const defs = svgElement("defs");
    Object.keys(STATES).forEach(function (id) {
      const look = STATES[id];
      if (!look.pattern) return;
      const size = { rising: 7, level: 6, dots: 6, cross: 8 }[look.pattern];
      const marks = {
        rising: () => [svgElement("path", {
          d: "M-1 8L8 -1M-1 1L1 -1M6 8L8 6", stroke: look.ink, "stroke-width": 1.1, "stroke-opacity": 0.8,
        })],
        level: () => [svgElement("path", {
          d: "M0 3H6", stroke: look.ink, "stroke-width": 1.2, "stroke-opacity": 0.85,
        })],
        dots: () => [svgElement("circle", { cx: 3, cy: 3, r: 0.95, fill: look.ink })],
        cross: () => [svgElement("path", {
          d: "M0 0L8 8M8 0L0 8", stroke: look.ink, "stroke-width": 0.8,
        })],
      }[look.pattern]();
      defs.appendChild(svgElement("pattern", {
        id: prefix + id, width: size, height: size, patternUnits: "userSpaceOnUse",
      }, [svgElement("rect", { width: size, height: size, fill: look.fill })].concat(marks)));
    });
    return defs;
  }

  /* ---------------------------------------------------------------- symbols */

  function tracePath(context, shape, x, y, r) {
    context.beginPath();
    if (shape === "circle") {
      context.arc(x, y, r, 0, 2 * Math.PI);
    } else if (shape === "square") {
      context.rect(x - r * 0.9, y - r * 0.9, r * 1.8, r * 1.8);
    } else if (shape === "cross") {
      const a = r * 1.1, b = r * 0.42;
      [[-b, -a], [b, -a], [b, -b], [a, -b], [a, b], [b, b], [b, a], [-b, a], [-b, b], [-a, b],
        [-a, -b], [-b, -b]].forEach((p, i) => context[i ? "lineTo" : "moveTo"](x + p[0], y + p[1]));
      context.closePath();
    } else {
      const corners = { triangle: 3, diamond: 4, hexagon: 6 }[shape] || 4;
      const reach = r * (corners === 3 ? 1.25 : 1.12);
      const drop = corners === 3 ? r * 0.2 : 0;
      for (let i = 0; i < corners; i += 1) {
        const angle = -Math.PI / 2 + (2 * Math.PI * i) / corners;
        context[i ? "lineTo" : "moveTo"](x + reach * Math.cos(angle), y + drop + reach * Math.sin(angle));
      }
      context.closePath();
    }
  }

  // Existing solid, closed or planned hollow, beyond the county ringed.
  function drawSymbol(context, look, x, y, r) {
    context.setLineDash([]);
    if (look.outside) {
      context.beginPath();
      context.arc(x, y, r + 2.6, 0, 2 * Math.PI);
      context.fillStyle = "rgba(255,255,255,.85)";
      context.fill();
      context.lineWidth = 1.2;
      context.strokeStyle = INK;
      context.setLineDash([2.5, 2]);
      context.stroke();
      context.setLineDash([]);
    }
    tracePath(context, look.shape, x, y, r);
    if (look.project) {
      context.lineWidth = 4.2;
      context.strokeStyle = "#fff";
      context.stroke();
      context.fillStyle = "#fff";
      context.fill();
      context.lineWidth = r < 4 ? 1.6 : 2.1;
      context.strokeStyle = PROJECT_INK;
      if (look.later) context.setLineDash([2.5, 1.8]);
      context.stroke();
      context.setLineDash([]);
      return;
    }
    const hollow = look.status !== "in_use";
    context.lineWidth = hollow ? 3.4 : 1.4;
    context.strokeStyle = "#fff";
    context.stroke();
    context.fillStyle = hollow ? "#fff" : look.faint ? "#66717c" : INK;
    context.fill();
    if (hollow) {
      context.lineWidth = 1.5;
      context.strokeStyle = INK;
      context.stroke();
    }
    if (look.status === "closed") {
      context.beginPath();
      context.moveTo(x - r, y + r);
      context.lineTo(x + r, y - r);
      context.lineWidth = 1.5;
      context.stroke();
    }
  }

  /* ---------------------------------------------------------------- one canvas */

  // A Leaflet renderer only for its handling of panning and zooming; it draws what `paint` draws.
  const Painting = L.Renderer.extend({
    initialize: function (paint, options) {
      this._paint = paint;
      L.Renderer.prototype.initialize.call(this, options);
    },
    _initContainer: function () {
      this._container = document.createElement("canvas");
      this._container.className = "fc-canvas";
      this._container.setAttribute("aria-hidden", "true");
      this.context = this._container.getContext("2d");
    },
    _destroyContainer: function () {
      this._container.remove();
      delete this._container;
      delete this.context;
    },
    _update: function () {
      if (this._map._animatingZoom && this._bounds) return;
      L.Renderer.prototype._update.call(this);
      const canvas = this._container;
      const low = this._bounds.min;
      const size = this._bounds.getSize();
      const sharp = clamp(window.devicePixelRatio || 1, 1, 3);
      L.DomUtil.setPosition(canvas, low);
      canvas.width = Math.round(size.x * sharp);
      canvas.height = Math.round(size.y * sharp);
      canvas.style.width = size.x + "px";
      canvas.style.height = size.y + "px";
      this.context.setTransform(sharp, 0, 0, sharp, -low.x * sharp, -low.y * sharp);
      this._paint(this.context, this._bounds);
    },
    _updatePaths: function () { /* nothing to keep: all is painted in _update */ },
    redraw: function () {
      if (this._map) this._update();
    },
  });

  /* ---------------------------------------------------------------- the map */

  function CoverageMap(map, name) {
    const page = document.getElementById(name + "_page");
    const data = JSON.parse(document.getElementById(name + "_data").textContent);
    const text = data.text;
    const units = data.units;
    const stateIds = data.states.map((state) => state.id);
    const prefix = name + "_fill_";
    const shown = {
      kind: data.start.kind,
      basis: data.start.basis,
      theme: data.start.theme,
      time: "now",
      curtain: 0.5,
      mode: null,
      unit: -1,
      hoverUnit: -1,
      layers: {
        units: true, demand: true, circles: true, facilities: true, outside: true, others: false,
        projects: true, roads: true, townships: true, borders: true, labels: true, context: true,
      },
    };
    const drawn = { roads: 0, facilities: 0, hamlets: 0, projects: 0, circles: 0, labels: [] };

    /* -- coordinates: whole steps of 1e-5 degree, then world pixels at zoom 0 -- */

    function latLng(x, y) {
      return [(y + data.origin[1]) * STEP, (x + data.origin[0]) * STEP];
    }

    function worldPoint(x, y) {
      const at = latLng(x, y);
      return map.options.crs.latLngToPoint(L.latLng(at[0], at[1]), 0);
    }

    function eachPoint(moves, visit) {
      let x = 0, y = 0;
      for (let i = 0; i < moves.length; i += 2) {
        x += moves[i];
        y += moves[i + 1];
        visit(x, y, i);
      }
    }

    function worldLine(moves) {
      const line = new Float64Array(moves.length);
      let west = Infinity, north = Infinity, east = -Infinity, south = -Infinity;
      eachPoint(moves, function (x, y, i) {
        const p = worldPoint(x, y);
        line[i] = p.x;
        line[i + 1] = p.y;
        west = Math.min(west, p.x);
        east = Math.max(east, p.x);
        north = Math.min(north, p.y);
        south = Math.max(south, p.y);
      });
      return { line: line, box: [west, north, east, south] };
    }

    function worldRings(shape) {
      return [].concat.apply([], shape.map((rings) => rings.map(worldLine)));
    }

    function latLngs(shape) {
      return shape.map((rings) => rings.map(function (moves) {
        const ring = [];
        eachPoint(moves, (x, y) => ring.push(latLng(x, y)));
        return ring;
      }));
    }

    function worldPoints(table) {
      return table.x.map((x, i) => (x === null || table.y[i] === null ? null : worldPoint(x, table.y[i])));
    }

    const roads = data.roads.map((group) => ({ look: ROADS[group.class], id: group.class, lines: group.lines.map(worldLine) }));
    const unitRings = units.shape.map(worldRings);
    const unitPoints = worldPoints(units);
    const townshipRings = data.townships.shape.map(worldRings);
    const townshipPoints = worldPoints(data.townships);
    const countyRings = worldRings(data.county);
    const contextRings = data.context ? data.context.shape.map(worldRings) : [];
    const contextPoints = data.context ? worldPoints(data.context) : [];
    const facilityPoints = worldPoints(data.facilities);
    const hamletPoints = worldPoints(data.demand);
    const projectPoints = data.projects ? worldPoints(data.projects) : [];
    const projectRoutes = data.projects ? data.projects.line.map((line) => (line ? worldLine(line) : null)) : [];
    const bands = data.circles.map((band) => ({ kind: band.kind, mode: band.mode, minutes: band.minutes, rings: worldRings(band.shape) }));

    /* -- what is chosen -- */

    function kindId() {
      return data.kinds[shown.kind].id;
    }

    // The county at a time: "now", or "after" its projects.
    function county(time) {
      return time === "after" ? data.after : { verdicts: data.verdicts, rates: data.rates, demand: data.demand.verdicts };
    }

    // Behind a curtain the card and the figures tell of what the projects bring.
    function told() {
      return county(shown.time === "now" ? "now" : "after");
    }

    function verdicts() {
      return told().verdicts[shown.kind];
    }

    function hamletState(index, time) {
      return stateIds[Number(county(time).demand[shown.kind].state[index])];
    }

    function isOfKind(index) {
      const id = wordOf(data.facilities.kind, index);
      return id === kindId() || (kindId() === "convenience_circle" && TRADES.has(id));
    }

    function facilityLook(index) {
      const id = wordOf(data.facilities.kind, index);
      return {
        shape: SHAPES[id] || "diamond",
        status: wordOf(data.facilities.status, index) || "in_use",
        outside: data.facilities.outside[index] === 1,
        faint: !isOfKind(index),
      };
    }

    function isFacilityShown(index) {
      if (!facilityPoints[index] || wordOf(data.facilities.status, index) === "shared") return false;
      if (data.facilities.outside[index] && !shown.layers.outside) return false;
      return isOfKind(index) ? shown.layers.facilities : shown.layers.others;
    }

    // Isochrones picture minutes, so they belong to the reachable basis alone.
    function bandsOfKind() {
      return shown.basis === "reachable" ? bands.filter((band) => band.kind === kindId() || band.kind === "") : [];
    }

    function modesOfCircles() {
      return Array.from(new Set(bandsOfKind().map((band) => band.mode)));
    }

    // Circles of several modes would lie on one another: one mode at a time.
    function shownBands() {
      const modes = modesOfCircles();
      const mode = modes.indexOf(shown.mode) >= 0 ? shown.mode : modes[0];
      return bandsOfKind().filter((band) => band.mode === mode);
    }

    /* -- panes: context, units, painting -- */

    [["fc-context", 250], ["fc-units", 300], ["fc-units-after", 301], ["fc-painting", 390]].forEach(function (pane) {
      map.createPane(pane[0]).style.zIndex = pane[1];
    });
    map.getPane("fc-context").style.pointerEvents = "none";
    map.getPane("fc-painting").style.pointerEvents = "none";

    const hidden = svgElement("svg", { width: 0, height: 0, "aria-hidden": "true", class: "fc-defs" }, [patternDefinitions(prefix)]);
    page.appendChild(hidden);

    const contextLayer = L.layerGroup();
    if (data.context) {
      const contextRenderer = L.svg({ pane: "fc-context", padding: 0.3 });
      data.context.shape.forEach((shape) => L.polygon(latLngs(shape), {
        pane: "fc-context", renderer: contextRenderer, interactive: false, smoothFactor: 0,
        color: "#bdb6a4", weight: 1.2, fill: false,
      }).addTo(contextLayer));
      contextLayer.addTo(map);
    }

    function unitPolygons(pane) {
      const renderer = L.svg({ pane: pane, padding: 0.3 });
      return units.code.map(function (code, index) {
        const layer = L.polygon(latLngs(units.shape[index]), {
          pane: pane, renderer: renderer, smoothFactor: 0, weight: 0.7, className: "fc-unit",
        });
        layer.on("mouseover", function () { shown.hoverUnit = index; });
        layer.on("mouseout", function () {
          if (shown.hoverUnit === index) shown.hoverUnit = -1;
          hideTip();
        });
        layer.on("click", function (event) {
          event.originalEvent.facilityCoverageUnit = true;
          selectUnit(index);
        });
        layer.addTo(map);
        const path = layer.getElement();
        if (path) path.setAttribute("data-code", code);
        return layer;
      });
    }

    const unitLayers = unitPolygons("fc-units");
    let laterLayers = null;  // the same units after the projects, made when first drawn aside

    function strength(id) {
      const factor = THEMES[shown.theme].strength[id];
      return Math.min(1, STATES[id].opacity * (factor === undefined ? 1 : factor));
    }

    function paintPolygons(layers, states) {
      layers.forEach(function (layer, index) {
        const id = stateIds[states[index]];
        const look = STATES[id];
        layer.setStyle({
          fillColor: look.pattern ? "url(#" + prefix + id + ")" : look.fill,
          fillOpacity: shown.layers.units ? strength(id) : 0,
          stroke: shown.layers.borders,
          color: "#55524a",
          opacity: 0.55,
        });
        const path = layer.getElement();
        if (path) path.setAttribute("data-state", id);
      });
    }

    function paintUnits() {
      const isAside = shown.time === "curtain";
      paintPolygons(unitLayers, county(shown.time === "after" ? "after" : "now").verdicts[shown.kind][shown.basis]);
      if (isAside && !laterLayers) laterLayers = unitPolygons("fc-units-after");
      if (isAside) paintPolygons(laterLayers, data.after.verdicts[shown.kind][shown.basis]);
      map.getPane("fc-units-after").style.display = isAside ? "" : "none";
      clipUnits();
    }

    // Left of the curtain the county as it is, right of it as it will be.
    function curtainAt() {
      return map.containerPointToLayerPoint([map.getSize().x * shown.curtain, 0]).x;
    }

    function clipUnits() {
      const far = 1e5, x = curtainAt();
      const side = (from, to) => "polygon(" + [[from, -far], [to, -far], [to, far], [from, far]]
        .map((p) => p[0] + "px " + p[1] + "px").join(",") + ")";
      const isAside = shown.time === "curtain";
      map.getPane("fc-units").style.clipPath = isAside ? side(-far, x) : "";
      map.getPane("fc-units-after").style.clipPath = isAside ? side(x, far) : "";
    }

    /* -- painting -- */

    let context = null, view = null, scale = 1, shiftX = 0, shiftY = 0;

    function isInView(box, margin) {
      return box[2] * scale - shiftX > view.min.x - margin && box[0] * scale - shiftX < view.max.x + margin
        && box[3] * scale - shiftY > view.min.y - margin && box[1] * scale - shiftY < view.max.y + margin;
    }

    function screen(point) {
      return { x: point.x * scale - shiftX, y: point.y * scale - shiftY };
    }

    function isPointInView(p) {
      return p.x > view.min.x && p.x < view.max.x && p.y > view.min.y && p.y < view.max.y;
    }

    function trace(item, close) {
      const line = item.line;
      context.moveTo(line[0] * scale - shiftX, line[1] * scale - shiftY);
      for (let i = 2; i < line.length; i += 2) {
        context.lineTo(line[i] * scale - shiftX, line[i + 1] * scale - shiftY);
      }
      if (close) context.closePath();
    }

    function paint(target, bounds) {
      context = target;
      view = bounds;
      scale = map.getZoomScale(map.getZoom(), 0);
      const origin = map.getPixelOrigin();
      shiftX = origin.x;
      shiftY = origin.y;
      context.lineJoin = "round";
      context.lineCap = "round";
      if (isOnPaper) paintUnderneath();
      const zoom = map.getZoom();
      const growth = clamp(Math.pow(1.32, zoom - 10.5), 0.75, 6);
      paintCircles(zoom);
      paintRoads(zoom, growth);
      paintBorders(growth);
      paintHamlets(zoom);
      paintFacilities(zoom);
      paintProjects(zoom);
      paintSelection(growth);
      paintLabels(zoom);
    }

    // Browsers print a canvas without letting through what lies under it: on paper it holds all.
    let isOnPaper = false;
    const tiles = {};

    function tile(id) {
      const look = STATES[id];
      if (!tiles[id]) {
        const made = element("canvas", { width: 8, height: 8 });
        const pen = made.getContext("2d");
        pen.fillStyle = look.fill;
        pen.fillRect(0, 0, 8, 8);
        pen.strokeStyle = pen.fillStyle = look.ink;
        pen.lineWidth = 1.1;
        pen.beginPath();
        if (look.pattern === "level") [2, 6].forEach((y) => { pen.moveTo(0, y); pen.lineTo(8, y); });
        if (look.pattern === "rising" || look.pattern === "cross") {
          [-8, 0, 8].forEach((x) => { pen.moveTo(x, 8); pen.lineTo(x + 8, 0); });
        }
        if (look.pattern === "cross") [-8, 0, 8].forEach((x) => { pen.moveTo(x, 0); pen.lineTo(x + 8, 8); });
        pen.stroke();
        if (look.pattern === "dots") [[2, 2], [6, 6]].forEach((at) => pen.fillRect(at[0] - 0.8, at[1] - 0.8, 1.6, 1.6));
        tiles[id] = made;
      }
      return context.createPattern(tiles[id], "repeat");
    }

    function paintSide(time, from, to) {
      const states = county(time).verdicts[shown.kind][shown.basis];
      context.save();
      context.beginPath();
      context.rect(from, view.min.y, to - from, view.max.y - view.min.y);
      context.clip();
      unitRings.forEach(function (rings, index) {
        const id = stateIds[states[index]];
        context.beginPath();
        rings.forEach((ring) => isInView(ring.box, 2) && trace(ring, true));
        context.globalAlpha = strength(id);
        context.fillStyle = STATES[id].pattern ? tile(id) : STATES[id].fill;
        context.fill("evenodd");
      });
      context.restore();
    }

    function paintUnderneath() {
      context.fillStyle = "#f3efe4";
      context.fillRect(view.min.x, view.min.y, view.max.x - view.min.x, view.max.y - view.min.y);
      if (shown.layers.context) contextRings.forEach((rings) => strokeRings(rings, 1.2, "#bdb6a4"));
      const x = shown.time === "curtain" ? curtainAt() : shown.time === "now" ? view.max.x : view.min.x;
      if (shown.layers.units) {
        paintSide("now", view.min.x, x);
        if (x < view.max.x) paintSide("after", x, view.max.x);
      }
      if (shown.layers.borders) unitRings.forEach((rings) => strokeRings(rings, 0.7, "rgba(85,82,74,.55)"));
    }

    function paintCircles(zoom) {
      drawn.circles = 0;
      if (!shown.layers.circles) return;
      shownBands().forEach(function (band) {
        context.beginPath();
        band.rings.forEach((ring) => isInView(ring.box, 2) && trace(ring, true));
        context.fillStyle = "rgba(73,51,150,.10)";
        context.fill("evenodd");
        context.lineWidth = zoom < 11 ? 0.5 : 0.9;
        context.strokeStyle = zoom < 11 ? "rgba(63,45,126,.45)" : "rgba(63,45,126,.75)";
        context.stroke();
        drawn.circles += 1;
      });
    }

    function paintRoads(zoom, growth) {
      drawn.roads = 0;
      if (!shown.layers.roads) return;
      const visible = roads.filter((group) => zoom >= group.look.from).map((group) => ({
        look: group.look, lines: group.lines.filter((item) => isInView(item.box, 8)),
      }));
      visible.forEach(function (group) {
        if (!group.look.casing) return;
        context.beginPath();
        group.lines.forEach((item) => trace(item, false));
        context.lineWidth = group.look.width * growth + 2 * group.look.casing;
        context.strokeStyle = group.look.edge;
        context.stroke();
      });
      visible.forEach(function (group) {
        context.setLineDash(group.look.dash || []);
        context.beginPath();
        group.lines.forEach((item) => trace(item, false));
        context.lineWidth = group.look.width * growth;
        context.strokeStyle = group.look.line;
        context.stroke();
        drawn.roads += group.lines.length;
      });
      context.setLineDash([]);
    }

    function strokeRings(rings, width, colour, dash) {
      context.beginPath();
      rings.forEach((ring) => isInView(ring.box, 8) && trace(ring, true));
      context.lineWidth = width;
      context.strokeStyle = colour;
      context.setLineDash(dash || []);
      context.stroke();
      context.setLineDash([]);
    }

    function paintBorders(growth) {
      if (!shown.layers.townships) return;
      const wide = clamp(growth, 0.9, 1.8);
      townshipRings.forEach(function (rings) {
        strokeRings(rings, 2.6 * wide, "rgba(255,253,246,.7)");
      });
      townshipRings.forEach(function (rings) {
        strokeRings(rings, 1.2 * wide, "#403b52", [7, 3, 1.5, 3]);
      });
      strokeRings(countyRings, 5 * wide, "rgba(64,59,82,.22)");
      strokeRings(countyRings, 1.8 * wide, "#403b52");
    }

    function paintHamlets(zoom) {
      drawn.hamlets = 0;
      if (!shown.layers.demand) return;
      const grow = clamp(zoom - 9.5, 0.6, 4);
      const x = curtainAt();
      const isFree = spacer(hamletPoints.length, 0.8 * grow);
      hamletPoints.forEach(function (point, index) {
        if (!point) return;
        const p = screen(point);
        if (!isPointInView(p)) return;
        const time = shown.time === "curtain" ? (p.x < x ? "now" : "after") : shown.time;
        const id = hamletState(index, time);
        if (shown.theme === "gaps" && shown.basis === "reachable" && (id === "covered" || id === "shared")) return;
        if (!isFree(p)) return;
        const people = data.demand.residents[index];
        const r = 0.55 + 0.5 * grow + grow * clamp(Math.sqrt(isNumber(people) ? people : 100) / 60, 0, 0.8);
        context.beginPath();
        context.arc(p.x, p.y, r, 0, 2 * Math.PI);
        context.fillStyle = shown.basis === "reachable" ? STATES[id].dot : "#5d6670";
        context.fill();
        if (zoom > 10.75) {
          context.lineWidth = 0.8;
          context.strokeStyle = "rgba(255,255,255,.9)";
          context.stroke();
        }
        drawn.hamlets += 1;
      });
    }

    function symbolSize(zoom) {
      return clamp(2.7 + (zoom - 9.75) * 1.05, 2.6, 8.5);
    }

    // Of tens of thousands of points only those that can be told apart are drawn.
    function spacer(size, apart) {
      if (size < CROWDED) return () => true;
      const taken = new Set();
      return function (p) {
        const cell = Math.floor(p.x / apart) + ":" + Math.floor(p.y / apart);
        if (taken.has(cell)) return false;
        taken.add(cell);
        return true;
      };
    }

    function paintFacilities(zoom) {
      drawn.facilities = 0;
      const r = symbolSize(zoom);
      [false, true].forEach(function (chosen) {
        const isFree = spacer(facilityPoints.length, r);
        facilityPoints.forEach(function (point, index) {
          if (isOfKind(index) !== chosen || !isFacilityShown(index)) return;
          const p = screen(point);
          if (!isPointInView(p) || !isFree(p)) return;
          drawSymbol(context, facilityLook(index), p.x, p.y, chosen ? r : r * 0.66);
          drawn.facilities += 1;
        });
      });
    }

    function projectLook(index) {
      const nature = wordOf(data.projects.nature, index);
      return { shape: NATURES[nature] || "square", project: true, later: !data.projects.in_quota[index] };
    }

    function paintProjects(zoom) {
      drawn.projects = 0;
      if (!shown.layers.projects) return;
      const r = symbolSize(zoom) * 1.12;
      projectRoutes.forEach(function (item) {
        if (!item) return;
        [[5, "#fff", []], [2.4, PROJECT_INK, [7, 4]]].forEach(function (pass) {
          context.beginPath();
          trace(item, false);
          context.lineWidth = pass[0];
          context.strokeStyle = pass[1];
          context.setLineDash(pass[2]);
          context.stroke();
        });
        context.setLineDash([]);
      });
      projectPoints.forEach(function (point, index) {
        if (!point) return;
        const p = screen(point);
        if (!isPointInView(p)) return;
        drawSymbol(context, projectLook(index), p.x, p.y, r);
        drawn.projects += 1;
      });
    }

    function usedFacility(index) {
      const column = shown.basis === "ledger" ? "ledger_facility" : "facility";
      return verdicts()[column][index];
    }

    function paintSelection(growth) {
      if (shown.unit < 0) return;
      const wide = clamp(growth, 1, 1.6);
      strokeRings(unitRings[shown.unit], 6 * wide, "#ffffff");
      strokeRings(unitRings[shown.unit], 2.8 * wide, "#11181f");
      const facility = usedFacility(shown.unit);
      if (facility < 0 || !facilityPoints[facility] || !unitPoints[shown.unit]) return;
      const a = screen(unitPoints[shown.unit]), b = screen(facilityPoints[facility]);
      [[4.5, "#ffffff", []], [1.8, "#11181f", [6, 5]]].forEach(function (pass) {
        context.beginPath();
        context.moveTo(a.x, a.y);
        context.lineTo(b.x, b.y);
        context.lineWidth = pass[0];
        context.strokeStyle = pass[1];
        context.setLineDash(pass[2]);
        context.stroke();
      });
      context.setLineDash([]);
      drawSymbol(context, Object.assign(facilityLook(facility), { faint: false }), b.x, b.y, symbolSize(map.getZoom()) + 1.5);
    }

    // Where the legend lies, in the canvas's coordinates: left, top, right (it stands on the bottom).
    function legendArea() {
      const stage = map.getContainer().getBoundingClientRect();
      const box = legendBox.getBoundingClientRect();
      const corner = map.containerPointToLayerPoint([box.left - stage.left, box.top - stage.top]);
      return [corner.x, corner.y, corner.x + box.width];
    }

    // Names are placed in order of weight; one that would touch another moves a little or stays out.
    function paintLabels(zoom) {
      drawn.labels = [];
      if (!shown.layers.labels) return;
      const wanted = [];
      const townshipOrder = data.townships.name.map((_, i) => i).sort((a, b) => data.townships.size[b] - data.townships.size[a]);
      townshipOrder.forEach((i) => townshipPoints[i] && wanted.push({
        text: data.townships.name[i], at: townshipPoints[i], size: clamp(12 + (zoom - 10), 12, 17), weight: 700, ink: "#2b2740", kind: "township",
      }));
      contextPoints.forEach((point, i) => point && shown.layers.context && wanted.push({
        text: data.context.name[i], at: point, size: 15, weight: 400, ink: "#6d685c", kind: "context",
      }));
      if (zoom >= 11.75) {
        unitPoints.forEach((point, i) => point && wanted.push({
          text: units.name[i], at: point, size: clamp(11 + (zoom - 12), 11, 14), weight: 400, ink: "#1d2732", kind: "unit",
        }));
      }
      if (zoom >= 13.5 && shown.layers.demand) {
        hamletPoints.forEach((point, i) => point && data.demand.name[i] && wanted.push({
          text: data.demand.name[i], at: point, size: 11, weight: 400, ink: "#454d55", kind: "hamlet",
        }));
      }
      if (zoom >= 11.5 && shown.layers.projects) {
        projectPoints.forEach((point, i) => point && isNumber(data.projects.number[i]) && wanted.push({
          text: String(data.projects.number[i]), at: point, size: 11, weight: 700, ink: PROJECT_INK, kind: "project",
        }));
      }
      context.textAlign = "center";
      context.textBaseline = "middle";
      const legend = legendArea();
      wanted.forEach(function (item) {
        const p = screen(item.at);
        if (!item.text || !isPointInView(p)) return;
        context.font = item.weight + " " + item.size + "px " + FONT;
        const half = context.measureText(item.text).width / 2 + 3;
        const tall = item.size * 0.62 + 1;
        const near = item.kind === "hamlet" || item.kind === "project" ? [[0, -1.6], [0, 1.6]] : [[0, 0], [0, -1.7], [0, 1.7], [0, -2.8], [0, 2.8]];
        for (let i = 0; i < near.length; i += 1) {
          const x = p.x, y = p.y + near[i][1] * tall;
          const box = [x - half, y - tall, x + half, y + tall];
          const isFree = drawn.labels.every((other) => other.box[0] > box[2] || other.box[2] < box[0]
            || other.box[1] > box[3] || other.box[3] < box[1]);
          const isBehind = legend[0] < box[2] && legend[1] < box[3] && legend[2] > box[0];
          if (isFree && !isBehind) {
            context.lineJoin = "round";
            context.lineWidth = 3.6;
            context.strokeStyle = "rgba(255,253,246,.92)";
            context.strokeText(item.text, x, y);
            context.fillStyle = item.ink;
            context.fillText(item.text, x, y);
            drawn.labels.push({ text: item.text, kind: item.kind, box: box });
            return;
          }
        }
      });
    }

    const painting = new Painting(paint, { pane: "fc-painting", padding: 0.15 });

    function redraw() {
      painting.redraw();
    }

    /* -- controls on the map: scale, north arrow, legend, tooltip -- */

    map.attributionControl.setPrefix("Leaflet");
    L.control.scale({ imperial: false, position: "bottomright", maxWidth: 120 }).addTo(map);

    const North = L.Control.extend({
      onAdd: function () {
        const arrow = svgElement("svg", { viewBox: "0 0 24 34", width: 24, height: 34, "aria-hidden": "true" }, [
          svgElement("path", { d: "M12 1L20 32L12 26Z", fill: "#1b2733" }),
          svgElement("path", { d: "M12 1L4 32L12 26Z", fill: "#fff", stroke: "#1b2733", "stroke-width": 1 }),
        ]);
        return element("div", { class: "fc-north", title: text.north }, [arrow, element("span", { text: text.north })]);
      },
    });
    new North({ position: "topright" }).addTo(map);

    const legendBody = element("div", { class: "fc-legend-body" });
    const legendBox = element("details", { class: "fc-legend", open: "" }, [
      element("summary", { text: text.legend }), legendBody,
    ]);
    const Legend = L.Control.extend({
      onAdd: function () {
        L.DomEvent.disableClickPropagation(legendBox);
        L.DomEvent.disableScrollPropagation(legendBox);
        return legendBox;
      },
    });
    new Legend({ position: "bottomleft" }).addTo(map);

    function swatch(id) {
      const look = STATES[id];
      return svgElement("svg", { class: "fc-swatch", width: 24, height: 15, "aria-hidden": "true" }, [
        svgElement("rect", { x: 0.5, y: 0.5, width: 23, height: 14, stroke: "#55524a", "stroke-width": 1,
          fill: look.pattern ? "url(#" + prefix + id + ")" : look.fill, "fill-opacity": strength(id) }),
      ]);
    }

    function symbolSwatch(draw) {
      const canvas = element("canvas", { class: "fc-swatch", width: 48, height: 32, "aria-hidden": "true" });
      const pen = canvas.getContext("2d");
      pen.scale(2, 2);
      draw(pen);
      return canvas;
    }

    function lineSwatch(passes) {
      return symbolSwatch(function (pen) {
        passes.forEach(function (pass) {
          pen.beginPath();
          pen.moveTo(1, 8);
          pen.lineTo(23, 8);
          pen.lineWidth = pass[0];
          pen.strokeStyle = pass[1];
          pen.setLineDash(pass[2] || []);
          pen.stroke();
        });
      });
    }

    function legendRow(mark, words, count, attributes) {
      return element("div", Object.assign({ class: "fc-legend-row" }, attributes), [
        mark, element("span", { class: "fc-legend-words", text: words }),
        count === null ? null : element("span", { class: "fc-legend-count", text: String(count) }),
      ]);
    }

    function counts(time) {
      const tally = {};
      stateIds.forEach((id) => { tally[id] = 0; });
      county(time).verdicts[shown.kind][shown.basis].forEach((code) => { tally[stateIds[code]] += 1; });
      return tally;
    }

    function fillLegend() {
      clear(legendBody);
      const isAside = shown.time === "curtain";
      const tally = counts(isAside ? "now" : shown.time);
      const later = isAside ? counts("after") : tally;
      const states = element("div", { class: "fc-legend-part" });
      data.states.forEach(function (state) {
        const isRare = state.id === "not_applicable" || state.id === "unknown"
          || (state.id === "shared" && shown.basis !== "ledger") || (state.id === "near" && shown.basis === "ledger");
        if (isRare && tally[state.id] + later[state.id] === 0) return;
        const count = isAside ? tally[state.id] + " → " + later[state.id] : tally[state.id];
        states.appendChild(legendRow(swatch(state.id), state.label, count, { "data-state": state.id }));
      });
      legendBody.appendChild(states);
      const marks = element("div", { class: "fc-legend-part fc-legend-marks" });
      const shape = SHAPES[kindId()] || "diamond";
      const exists = { in_use: false, closed: false, planned: false, outside: false };
      facilityPoints.forEach(function (point, index) {
        if (!point || !isOfKind(index)) return;
        exists[wordOf(data.facilities.status, index)] = true;
        if (data.facilities.outside[index]) exists.outside = true;
      });
      [["in_use", "existing", {}], ["planned", "under_way", { status: "planned" }], ["closed", "closed", { status: "closed" }],
        ["outside", "outside_facility", { outside: true }]].forEach(function (row) {
        if (!exists[row[0]]) return;
        const look = Object.assign({ shape: shape, status: "in_use" }, row[2]);
        marks.appendChild(legendRow(symbolSwatch((pen) => drawSymbol(pen, look, 12, 8, 4.6)), text[row[1]], null));
      });
      if (data.projects && shown.layers.projects) {
        const there = data.projects.nature;
        Object.keys(NATURES).filter((id) => there.words.indexOf(id) >= 0).forEach(function (id) {
          const mark = symbolSwatch((pen) => drawSymbol(pen, { shape: NATURES[id], project: true }, 12, 8, 5));
          const road = lineSwatch([[2.4, PROJECT_INK, [5, 3]]]);
          const count = there.at.filter((at, i) => there.words[at] === id && data.projects.in_quota[i]).length;
          if (count) marks.appendChild(legendRow(id === "road_link" ? road : mark, data.words.nature[id] || id, count));
        });
        if (data.projects.in_quota.some((flag) => !flag)) {
          marks.appendChild(legendRow(symbolSwatch((pen) => drawSymbol(pen, { shape: "square", project: true, later: true }, 12, 8, 5)),
            text.project_later, data.projects.in_quota.filter((flag) => !flag).length));
        }
      }
      if (data.demand.x.length && shown.layers.demand) {
        marks.appendChild(legendRow(symbolSwatch(function (pen) {
          const dots = shown.basis === "reachable" ? [STATES.covered.dot, STATES.uncovered.dot] : ["#5d6670"];
          dots.forEach(function (colour, i) {
            pen.beginPath();
            pen.arc(dots.length === 1 ? 12 : 8 + 8 * i, 8, 3, 0, 2 * Math.PI);
            pen.fillStyle = colour;
            pen.fill();
          });
        }), text.hamlet, null));
      }
      const times = (shown.layers.circles ? shownBands() : []).map((band) => band.minutes);
      if (times.length) {
        const list = Array.from(new Set(times)).sort((a, b) => a - b).join(" / ");
        marks.appendChild(legendRow(symbolSwatch(function (pen) {
          [10.5, 7, 3.5].forEach(function (r) {
            pen.beginPath();
            pen.ellipse(12, 8, r, r * 0.66, 0, 0, 2 * Math.PI);
            pen.fillStyle = "rgba(73,51,150,.2)";
            pen.fill();
            pen.lineWidth = 0.7;
            pen.strokeStyle = CIRCLE_INK;
            pen.stroke();
          });
        }), text.circle + " " + (data.words.mode[shownBands()[0].mode] || "") + " " + list + " " + text.minutes, null));
      }
      legendBody.appendChild(marks);
      const lines = element("div", { class: "fc-legend-part fc-legend-lines" });
      roads.slice().reverse().filter((group) => group.id !== "path").forEach(function (group) {
        const look = group.look;
        const width = Math.max(1.2, look.width);
        lines.appendChild(legendRow(lineSwatch([[width + 2 * look.casing, look.edge], [width, look.line]]), text["road_" + group.id], null));
      });
      lines.appendChild(legendRow(lineSwatch([[1.4, "#403b52", [6, 2.5, 1.2, 2.5]]]), text.township_border, null));
      legendBody.appendChild(lines);
    }

    const tip = element("div", { class: "fc-tip", role: "status", hidden: "" });
    page.querySelector(".fc-stage").appendChild(tip);

    function hideTip() {
      tip.setAttribute("hidden", "");
    }

    function showTip(point, lines) {
      clear(tip);
      lines.filter(Boolean).forEach((line, i) => tip.appendChild(element(i ? "div" : "strong", { text: line })));
      tip.removeAttribute("hidden");
      const size = map.getSize();
      const x = point.x + 16 + tip.offsetWidth > size.x ? point.x - tip.offsetWidth - 12 : point.x + 16;
      const y = point.y + 16 + tip.offsetHeight > size.y ? point.y - tip.offsetHeight - 12 : point.y + 16;
      tip.style.left = Math.max(2, x) + "px";
      tip.style.top = Math.max(2, y) + "px";
    }

    function minutesText(minutes, mode) {
      if (!isNumber(minutes)) return DASH;
      const how = mode ? (data.words.mode[mode] || mode) + " " : "";
      return how + oneDecimal(minutes) + " " + text.minutes;
    }

    function nearest(points, isShown, at, reach) {
      let best = -1, bestDistance = reach * reach;
      points.forEach(function (point, index) {
        if (!point || !isShown(index)) return;
        const p = screen(point);
        const distance = (p.x - at.x) * (p.x - at.x) + (p.y - at.y) * (p.y - at.y);
        if (distance < bestDistance) {
          best = index;
          bestDistance = distance;
        }
      });
      return best;
    }

    function facilityLines(index) {
      const f = data.facilities;
      const status = wordOf(f.status, index);
      const facts = [];
      if (isNumber(f.area[index])) facts.push(whole(f.area[index]) + " " + text.square_metres);
      if (isNumber(f.hours[index])) facts.push(oneDecimal(f.hours[index]) + " " + text.hours);
      if (status) facts.push(data.words.status[status] || status);
      const place = f.outside[index] ? text.outside : f.unit[index] >= 0 ? units.name[f.unit[index]] : "";
      return [f.name[index] || DASH, data.words.kind[wordOf(f.kind, index)] || wordOf(f.kind, index), place, facts.join(" · ")];
    }

    function hamletLines(index) {
      const d = data.demand;
      return [d.name[index] || DASH, d.unit[index] >= 0 ? units.name[d.unit[index]] : "",
        text.residents + text.colon + whole(d.residents[index]),
        data.states[stateIds.indexOf(hamletState(index, shown.time === "now" ? "now" : "after"))].label
          + " · " + minutesText(told().demand[shown.kind].minutes[index], "")];
    }

    function projectLines(index) {
      const p = data.projects;
      return [(isNumber(p.number[index]) ? p.number[index] + ". " : "") + (p.name[index] || DASH),
        data.words.project[wordOf(p.project, index)] || wordOf(p.project, index),
        data.words.nature[wordOf(p.nature, index)] || wordOf(p.nature, index)];
    }

    function unitLines(index) {
      const v = verdicts();
      const state = data.states[v[shown.basis][index]].label;
      const words = shown.basis === "reachable" ? " · " + minutesText(v.minutes[index], wordOf(v.mode, index)) : "";
      return [units.name[index], wordOf(units.township, index), state + words];
    }

    map.on("mousemove", function (event) {
      const at = map.latLngToLayerPoint(event.latlng);
      const zoom = map.getZoom();
      if (!view) return;
      const reach = symbolSize(zoom) + 3;
      let index = shown.layers.projects ? nearest(projectPoints, () => true, at, reach) : -1;
      if (index >= 0) return void showTip(event.containerPoint, projectLines(index));
      index = nearest(facilityPoints, isFacilityShown, at, reach);
      if (index >= 0) return void showTip(event.containerPoint, facilityLines(index));
      index = shown.layers.demand ? nearest(hamletPoints, () => true, at, 5) : -1;
      if (index >= 0) return void showTip(event.containerPoint, hamletLines(index));
      if (shown.hoverUnit >= 0) return void showTip(event.containerPoint, unitLines(shown.hoverUnit));
      hideTip();
    });
    map.on("mouseout movestart zoomstart", hideTip);
    map.on("click", function (event) {
      if (!event.originalEvent.facilityCoverageUnit) selectUnit(-1);
    });

    /* -- panel -- */

    const panel = page.querySelector(".fc-panel");
    const toggle = element("button", {
      type: "button", class: "fc-panel-toggle", "aria-expanded": "true", title: text.hide_panel, "aria-label": text.hide_panel,
      on: { click: () => setPanel(page.classList.contains("fc-folded")) },
    });
    page.querySelector(".fc-main").insertBefore(toggle, panel);

    function setPanel(isOpen) {
      page.classList.toggle("fc-folded", !isOpen);
      const words = isOpen ? text.hide_panel : text.show_panel;
      toggle.setAttribute("aria-expanded", String(isOpen));
      toggle.setAttribute("aria-label", words);
      toggle.title = words;
      toggle.textContent = isOpen ? "›" : "‹";
      map.invalidateSize({ pan: false });
    }

    const searchList = element("ul", { class: "fc-found", hidden: "" });
    const searchBox = element("input", {
      type: "search", class: "fc-search", placeholder: text.search, "aria-label": text.search, autocomplete: "off", spellcheck: "false",
      on: {
        input: () => showFound(search(searchBox.value)),
        keydown: function (event) {
          if (event.key === "Enter") {
            const found = search(searchBox.value);
            if (found.length) choose(found[0]);
          } else if (event.key === "Escape") {
            searchBox.value = "";
            showFound([]);
          } else if (event.key === "ArrowDown" && searchList.querySelector("button")) {
            event.preventDefault();
            searchList.querySelector("button").focus();
          }
        },
      },
    });

    function search(words) {
      const wanted = words.trim().toLowerCase();
      if (!wanted) return [];
      const isLatin = /^[a-z]{2,}$/.test(wanted);
      const found = [];
      units.name.forEach(function (label, index) {
        const at = label.toLowerCase().indexOf(wanted);
        const isSpelt = isLatin && spelt(units.pinyin[index], wanted);
        const isCode = /^\d{6,}$/.test(wanted) && units.code[index].indexOf(wanted) === 0;
        if (at >= 0 || isCode || isSpelt) found.push({ unit: index, label: label, note: wordOf(units.township, index), rank: at === 0 ? 0 : 1 });
      });
      data.townships.name.forEach(function (label, index) {
        const isSpelt = isLatin && spelt(data.townships.pinyin[index], wanted);
        if (isSpelt || label.toLowerCase().indexOf(wanted) >= 0) found.push({ township: index, label: label, note: "", rank: 0 });
      });
      data.demand.name.forEach(function (label, index) {
        if (label && label.toLowerCase().indexOf(wanted) >= 0 && data.demand.unit[index] >= 0) {
          found.push({ hamlet: index, unit: data.demand.unit[index], label: label, note: units.name[data.demand.unit[index]], rank: 2 });
        }
      });
      return found.sort((a, b) => a.rank - b.rank).slice(0, 8);
    }

    function spelt(spellings, wanted) {
      return spellings.split(" ").some((each) => each.indexOf(wanted) === 0);
    }

    function showFound(found) {
      clear(searchList);
      const isAsking = searchBox.value.trim() !== "";
      searchList.toggleAttribute("hidden", !isAsking);
      if (isAsking && !found.length) searchList.appendChild(element("li", { class: "fc-none", text: text.no_match }));
      found.forEach(function (item) {
        searchList.appendChild(element("li", {}, [element("button", {
          type: "button", on: {
            click: () => choose(item),
            keydown: function (event) {
              const row = event.currentTarget.parentElement;
              const next = event.key === "ArrowDown" ? row.nextElementSibling : event.key === "ArrowUp" ? row.previousElementSibling : null;
              if (event.key === "ArrowDown" || event.key === "ArrowUp") {
                event.preventDefault();
                (next ? next.querySelector("button") : searchBox).focus();
              }
            },
          },
        }, [element("span", { text: item.label }), element("small", { text: item.note })])]));
      });
    }

    function choose(item) {
      searchBox.value = "";
      showFound([]);
      if (item.township !== undefined) {
        map.fitBounds(boundsOf(data.townships.shape[item.township]), { padding: [20, 20], animate: false });
        return;
      }
      map.fitBounds(boundsOf(units.shape[item.unit]), { padding: [60, 60], maxZoom: 13.5, animate: false });
      selectUnit(item.unit);
    }

    function boundsOf(shape) {
      return L.latLngBounds([].concat.apply([], latLngs(shape).map((rings) => rings[0])));
    }

    const kindSelect = element("select", { id: name + "_kind", class: "fc-kind", on: { change: () => setKind(kindSelect.value) } },
      data.kinds.map((kind) => element("option", { value: kind.id, text: kind.label })));
    // A row of choices, one of which is on.
    function choices(key, words, items, choose) {
      return element("div", { class: "fc-choice", role: "radiogroup", "aria-label": words, "data-choice": key },
        items.map((item) => element("label", {}, [
          element("input", { type: "radio", name: name + "_" + key, value: item.id, on: { change: () => choose(item.id) } }),
          element("span", { text: item.label }),
        ])));
    }

    const themeGroup = choices("theme", text.themes, data.themes, (id) => setTheme(id));
    const basisGroup = choices("basis", text.basis, data.bases, (id) => setBasis(id));
    const timeGroup = data.after ? choices("time", text.time, [
      { id: "now", label: text.now }, { id: "after", label: text.after }, { id: "curtain", label: text.curtain },
    ], (id) => setTime(id)) : null;
    const modeSelect = element("select", {
      class: "fc-mode", "aria-label": text.circle_mode, hidden: "",
      on: { change: function () { shown.mode = modeSelect.value; refresh(); } },
    });
    const curtain = element("input", {
      type: "range", class: "fc-curtain", min: 0, max: 1000, value: 500, hidden: "", "aria-label": text.curtain_move,
      on: { input: () => setCurtain(curtain.value / 1000) },
    });
    const curtainLine = element("div", { class: "fc-curtain-line", hidden: "" }, [
      element("span", { text: text.now }), element("span", { text: text.after }),
    ]);
    [curtainLine, curtain].forEach((part) => page.querySelector(".fc-stage").appendChild(part));
    const rateBox = element("section", { class: "fc-rates", "aria-label": text.rates });
    const card = element("section", { class: "fc-card", hidden: "", "aria-live": "polite" });
    const layerBox = element("details", { class: "fc-layers", open: "" }, [element("summary", { text: text.layers })]);

    [
      ["group_coverage", ["units", "demand", bands.length ? "circles" : null]],
      ["group_facilities", ["facilities", "outside", "others", data.projects ? "projects" : null]],
      ["group_base", ["roads", "townships", "borders", "labels", data.context ? "context" : null]],
    ].forEach(function (group) {
      layerBox.appendChild(element("fieldset", {}, [element("legend", { text: text[group[0]] })].concat(
        group[1].filter(Boolean).map(function (id) {
          const box = element("input", { type: "checkbox", "data-layer": id, on: { change: () => setLayer(id, box.checked) } });
          box.checked = shown.layers[id];
          return element("label", {}, [box, element("span", { text: text["layer_" + id] })]);
        }))));
    });

    [
      element("div", { class: "fc-find" }, [searchBox, searchList]),
      element("label", { class: "fc-label", for: name + "_kind", text: text.kind }), kindSelect, modeSelect, themeGroup, basisGroup, timeGroup,
      rateBox, card, layerBox,
    ].filter(Boolean).forEach((part) => panel.appendChild(part));

    function fillRates() {
      clear(rateBox);
      const rows = told().rates.filter((rate) => rate.kind === kindId() && rate.basis === shown.basis
        && MEASURES.indexOf(rate.measure) >= 0 && isNumber(rate.total) && rate.total > 0);
      const rank = (rate) => 10 * SETTINGS.indexOf(rate.setting) + MEASURES.indexOf(rate.measure);
      rows.sort((a, b) => rank(a) - rank(b));
      if (!rows.length) {
        rateBox.appendChild(element("p", { class: "fc-none", text: text.no_rate }));
        return;
      }
      rows.forEach(function (rate) {
        const words = (data.words.setting[rate.setting] || rate.setting) + " · " + (data.words.measure[rate.measure] || rate.measure);
        const bar = element("div", { class: "fc-bar" }, [element("i", {})]);
        bar.firstChild.style.width = (isNumber(rate.share) ? clamp(rate.share, 0, 1) * 100 : 0) + "%";
        if (isNumber(rate.target)) {
          const mark = element("b", {});
          mark.style.left = clamp(rate.target, 0, 1) * 100 + "%";
          bar.appendChild(mark);
        }
        let goal = null;
        if (isNumber(rate.target)) {
          const isMet = isNumber(rate.missing) ? rate.missing <= 0 : null;
          goal = text.target + " " + percent(rate.target)
            + (isMet === null ? "" : isMet ? " · " + text.met : " · " + text.missing + " " + whole(rate.missing));
        }
        rateBox.appendChild(element("div", { class: "fc-rate", "data-setting": rate.setting, "data-measure": rate.measure }, [
          element("span", { class: "fc-rate-words", text: words }),
          element("span", { class: "fc-rate-share", text: percent(rate.share) }),
          bar,
          element("span", { class: "fc-rate-note", text: whole(rate.covered) + " / " + whole(rate.total) }),
          goal ? element("span", { class: "fc-rate-goal", text: goal }) : null,
        ]));
      });
    }

    function fact(words, value) {
      return element("div", { class: "fc-fact" }, [element("dt", { text: words }), element("dd", { text: value })]);
    }

    function chip(words, code) {
      return element("span", { class: "fc-chip", "data-state": stateIds[code] }, [
        swatch(stateIds[code]), element("span", { text: words + " " + data.states[code].label }),
      ]);
    }

    function facilityName(index) {
      if (index < 0) return "";
      return data.facilities.name[index] + (data.facilities.outside[index] ? "（" + text.outside + "）" : "");
    }

    function kindRow(kindIndex, unit) {
      const v = told().verdicts[kindIndex];
      const notes = [];
      const reasons = [];
      [["ledger_short", "ledger_reason"], ["reachable_short", "reachable_reason"]].forEach(function (pair) {
        const reason = wordOf(v[pair[1]], unit);
        if (reason) reasons.push(text[pair[0]] + text.colon + (data.words.reason[reason] || reason));
      });
      let minutes = minutesText(v.minutes[unit], wordOf(v.mode, unit));
      if (isNumber(v.limit[unit])) minutes += "（" + text.limit + " " + v.limit[unit] + "）";
      notes.push(minutes);
      const place = v.place ? wordOf(v.place, unit) : facilityName(v.facility[unit]) || facilityName(v.ledger_facility[unit]);
      if (place) notes.push(place);
      return element("div", {
        class: "fc-kindrow" + (kindIndex === shown.kind ? " fc-current" : ""), "data-kind": data.kinds[kindIndex].id,
      }, [
        element("strong", { text: data.kinds[kindIndex].label }),
        element("div", { class: "fc-chips" }, [chip(text.ledger_short, v.ledger[unit]), chip(text.reachable_short, v.reachable[unit])]),
        element("div", { class: "fc-note fc-minutes", text: notes.join(" · ") }),
        reasons.length ? element("div", { class: "fc-note", text: reasons.join(data.lang === "zh" ? "；" : "; ") }) : null,
      ]);
    }

    function projectRow(index) {
      const p = data.projects;
      const facts = [data.words.nature[wordOf(p.nature, index)] || wordOf(p.nature, index)];
      if (p.floor[index] > 0) facts.push(text.short_floor + " " + whole(p.floor[index]) + " " + text.square_metres);
      if (p.activity[index] > 0) facts.push(text.short_activity + " " + whole(p.activity[index]) + " " + text.square_metres);
      if (p.host[index]) facts.push(text.host + " " + p.host[index]);
      if (isNumber(p.deadline[index])) facts.push(text.deadline + " " + p.deadline[index]);
      const reasons = p.reasons[index].map((key) => data.words.reason[key] || key).join(data.lang === "zh" ? "、" : ", ");
      return element("div", { class: "fc-kindrow" }, [
        element("strong", { text: data.words.project[wordOf(p.project, index)] || wordOf(p.project, index) }),
        element("div", { class: "fc-note", text: facts.join(" · ") }),
        reasons ? element("div", { class: "fc-note", text: reasons }) : null,
      ]);
    }

    function fillCard() {
      clear(card);
      const unit = shown.unit;
      card.toggleAttribute("hidden", unit < 0);
      if (unit < 0) return;
      const type = data.words.unit_kind[wordOf(units.unit_kind, unit)] || wordOf(units.unit_kind, unit);
      const order = data.kinds.map((_, i) => i).sort((a, b) => (b === shown.kind) - (a === shown.kind));
      [
        element("div", { class: "fc-card-head" }, [
          element("h2", { text: units.name[unit] }),
          element("button", { type: "button", class: "fc-close", "aria-label": text.close, title: text.close, text: "×", on: { click: () => selectUnit(-1) } }),
        ]),
        element("dl", { class: "fc-facts" }, [
          fact(text.township, [wordOf(units.township, unit), type].filter(Boolean).join(" · ")),
          fact(text.code, units.code[unit]),
          fact(text.residents, whole(units.residents[unit])),
        ]),
      ].forEach((part) => card.appendChild(part));
      const own = data.projects ? data.projects.unit.map((u, i) => (u === unit ? i : -1)).filter((i) => i >= 0) : [];
      if (own.length) {
        card.appendChild(element("h3", { text: text.projects_here }));
        own.forEach((index) => card.appendChild(projectRow(index)));
      }
      card.appendChild(element("h3", { text: text.by_kind }));
      order.forEach((index) => card.appendChild(kindRow(index, unit)));
      card.appendChild(element("p", { class: "fc-note", text: text.link_note }));
    }

    /* -- what a reader, or a test, can do -- */

    function refresh() {
      kindSelect.value = kindId();
      [[basisGroup, shown.basis], [themeGroup, shown.theme], [timeGroup, shown.time]].forEach(function (pair) {
        if (pair[0]) pair[0].querySelectorAll("input").forEach((input) => { input.checked = input.value === pair[1]; });
      });
      clear(modeSelect);
      modesOfCircles().forEach((mode) => modeSelect.appendChild(element("option", {
        value: mode, text: text.circle_mode + text.colon + (data.words.mode[mode] || mode),
      })));
      modeSelect.toggleAttribute("hidden", modesOfCircles().length < 2);
      if (modesOfCircles().indexOf(shown.mode) >= 0) modeSelect.value = shown.mode;
      [curtain, curtainLine].forEach((part) => part.toggleAttribute("hidden", shown.time !== "curtain"));
      curtainLine.style.left = shown.curtain * 100 + "%";
      const basis = data.bases.find((item) => item.id === shown.basis).label;
      page.querySelector(".fc-shown").textContent = [
        shown.theme === "coverage" && shown.time !== "now" ? text.coverage_then
          : data.themes.find((item) => item.id === shown.theme).label, data.kinds[shown.kind].label, basis,
        shown.time === "now" ? null : text[shown.time], text.drawn_on + " " + data.date,
      ].filter(Boolean).join(" · ");
      page.setAttribute("data-kind", kindId());
      page.setAttribute("data-basis", shown.basis);
      page.setAttribute("data-theme", shown.theme);
      page.setAttribute("data-time", shown.time);
      paintUnits();
      fillLegend();
      fillRates();
      fillCard();
      redraw();
    }

    function setKind(id) {
      const index = data.kinds.findIndex((kind) => kind.id === id);
      if (index < 0) return;
      shown.kind = index;
      refresh();
    }

    function setBasis(id) {
      if (!data.bases.some((basis) => basis.id === id)) return;
      shown.basis = id;
      refresh();
    }

    function setTheme(id) {
      if (!THEMES[id]) return;
      shown.theme = id;
      Object.keys(THEMES[id].layers).forEach((layer) => switchLayer(layer, THEMES[id].layers[layer]));
      refresh();
    }

    function setTime(id) {
      if (!data.after || ["now", "after", "curtain"].indexOf(id) < 0) return;
      shown.time = id;
      refresh();
    }

    function setCurtain(part) {
      shown.curtain = clamp(part, 0, 1);
      curtain.value = Math.round(1000 * shown.curtain);
      curtainLine.style.left = shown.curtain * 100 + "%";
      clipUnits();
      redraw();
    }

    function switchLayer(id, isOn) {
      shown.layers[id] = isOn;
      const box = layerBox.querySelector('[data-layer="' + id + '"]');
      if (box) box.checked = isOn;
    }

    function setLayer(id, isOn) {
      switchLayer(id, isOn);
      fillLegend();
      if (id === "units" || id === "borders") paintUnits();
      if (id === "context" && data.context) map[isOn ? "addLayer" : "removeLayer"](contextLayer);
      redraw();
    }

    function selectUnit(index) {
      shown.unit = index;
      if (index >= 0 && page.classList.contains("fc-folded")) setPanel(true);
      fillCard();
      if (index >= 0) panel.scrollTop = Math.max(0, card.offsetTop - panel.offsetTop - 8);
      redraw();
    }

    function fitCounty() {
      const size = map.getSize();
      const beside = legendBox.open && size.x > 560 ? legendBox.offsetWidth + 20 : 12;
      map.fitBounds([[data.bounds[1], data.bounds[0]], [data.bounds[3], data.bounds[2]]], {
        paddingTopLeft: [beside, 12], paddingBottomRight: [44, 16], animate: false,
      });
    }

    function setSizeClass() {
      page.classList.toggle("fc-low", page.clientHeight < 620);
      page.classList.toggle("fc-narrow", page.clientWidth < 720);
    }

    /* -- begin -- */

    setSizeClass();
    if (page.classList.contains("fc-low")) layerBox.removeAttribute("open");
    setTheme(shown.theme);
    map.on("move zoomend resize", clipUnits);
    setPanel(page.clientWidth >= 720);
    fitCounty();
    painting.addTo(map);
    page.setAttribute("data-ready", "true");

    let hasMoved = false;
    map.on("dragstart zoomstart", function () { hasMoved = true; });
    window.addEventListener("resize", function () {
      setSizeClass();
      map.invalidateSize({ pan: false });
      if (!hasMoved) {
        fitCounty();
        hasMoved = false;
      }
    });

    // Paper is A4 on its side; the map is laid out for it before printing, and put back after.
    let before = null;
    window.addEventListener("beforeprint", function () {
      before = { bounds: map.getBounds() };
      page.classList.add("fc-printing");
      isOnPaper = true;
      map.invalidateSize({ animate: false, pan: false });
      if (hasMoved) map.fitBounds(before.bounds, { animate: false });
      else fitCounty();
      redraw();
    });
    window.addEventListener("afterprint", function () {
      page.classList.remove("fc-printing");
      isOnPaper = false;
      map.invalidateSize({ animate: false, pan: false });
      if (before) map.fitBounds(before.bounds, { animate: false });
      redraw();
    });

    return {
      map: map,
      data: data,
      setKind: setKind,
      setBasis: setBasis,
      setTheme: setTheme,
      setTime: setTime,
      setCurtain: setCurtain,
      setLayer: setLayer,
      setPanel: setPanel,
      search: search,
      fitCounty: fitCounty,
      selectUnit: (code) => selectUnit(units.code.indexOf(code)),
      unitPoint: function (code) {
        const index = units.code.indexOf(code);
        return map.latLngToContainerPoint(latLng(units.x[index], units.y[index]));
      },
      drawn: () => Object.assign({ units: unitLayers.filter((layer) => layer.getElement()).length }, drawn, counts(shown.time === "after" ? "after" : "now")),
      canvas: () => painting._container,
    };
  }

  const instances = [];

  function start(map, name) {
    const made = CoverageMap(map, name);
    instances.push(made);
    // The hooks of the first map on the page are at hand directly.
    if (instances.length === 1) Object.assign(namespace, made);
    return made;
  }

  const namespace = { start: start, instances: instances };
  return namespace;
})();
