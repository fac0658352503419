"""A local stand-in for Overpass and Nominatim: real OpenStreetMap data from an extract.

It answers the questions OSMnx sends, read from their Overpass QL, and can be told to refuse, to
break off or to run out of time first.
"""

from __future__ import annotations

import json
import re
from collections import deque
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, urlsplit

import osmium
import shapely

DATE = "2026-01-31T20:21:22Z"
STATUS = """Connected as: 1
Current time: 2026-01-31T20:21:22Z
Announced endpoint: none
Rate limit: 2
2 slots available now.
Currently running queries (pid, space limit, time limit, start time):
"""
FILTER = re.compile(r'\["(?P<key>[^"]+)"(?:(?P<how>!~|!=|~|=)"(?P<value>[^"]*)")?\]')
QUESTION = re.compile(r"\(way(?P<filters>(?:\[[^\]]*\])*)\(poly:'(?P<poly>[^']*)'\);>;\);out;$")


class StandIn:
    """Data, what was asked (`asked`), and what goes wrong next (`troubles`)."""

    def __init__(self, pbf):
        self.nodes, self.ways, self.shapes = {}, [], []
        for item in osmium.FileProcessor(str(pbf)):
            tags = {tag.k: tag.v for tag in item.tags}
            if item.is_node():
                self.nodes[item.id] = {
                    "type": "node",
                    "id": item.id,
                    "lat": item.lat,
                    "lon": item.lon,
                } | ({"tags": tags} if tags else {})
            elif item.is_way() and "highway" in tags:
                # Overpass knows all nodes; the extract does not: its ways are cut.
                refs = [node.ref for node in item.nodes if node.ref in self.nodes]
                if len(refs) > 1:
                    self.ways.append({"type": "way", "id": item.id, "nodes": refs, "tags": tags})
        self.shapes = [
            shapely.LineString([(self.nodes[ref]["lon"], self.nodes[ref]["lat"]) for ref in refs])
            for refs in (way["nodes"] for way in self.ways)
        ]
        self.places, self.url = {}, ""
        self.reset()

    def reset(self):
        self.asked, self.troubles = [], deque()

    def count(self, path):
        return sum(asked.endswith(path) for asked, _ in self.asked)

    def answer(self, question):
        """Answer ``[out:json]…;(way[…](poly:'lat lon …');>;);out;``."""
        found = QUESTION.search(question)
        assert found, question
        assert question.startswith("[out:json][timeout:"), question
        numbers = [float(number) for number in found["poly"].split()]
        polygon = shapely.Polygon(list(zip(numbers[1::2], numbers[::2], strict=True)))
        filters = list(FILTER.finditer(found["filters"]))
        assert "".join(each[0] for each in filters) == found["filters"], question
        ways = [
            way
            for way, touched in zip(
                self.ways, shapely.intersects(polygon, self.shapes), strict=True
            )
            if touched and all(passes(way["tags"], **each.groupdict()) for each in filters)
        ]
        refs = dict.fromkeys(ref for way in ways for ref in way["nodes"])
        return {
            "version": 0.6,
            "generator": "stand-in",
            "osm3s": {"timestamp_osm_base": DATE, "copyright": "OpenStreetMap, ODbL"},
            "elements": [*ways, *(self.nodes[ref] for ref in refs)],
        }

    def search(self, name):
        if name not in self.places:
            return []
        shape = self.places[name]
        west, south, east, north = shape.bounds
        return [
            {
                "place_id": 1,
                "osm_type": "relation",
                "osm_id": 34914,
                "lat": str(shape.centroid.y),
                "lon": str(shape.centroid.x),
                "class": "boundary",
                "type": "administrative",
                "importance": 0.8,
                "display_name": f"{name}, Helsinki, Suomi",
                "boundingbox": [str(south), str(north), str(west), str(east)],
                "geojson": json.loads(shapely.to_geojson(shape)),
            }
        ]


def passes(tags, key, how, value):
    given = tags.get(key)
    if how is None:
        return given is not None
    if how in {"=", "!="}:
        return (given == value) == (how == "=")
    return (given is not None and re.search(value, given) is not None) == (how == "~")


@contextmanager
def serve(stand_in):
    """Serve on a free port of the loopback; `stand_in.url` says where."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def say(self, status, body, *, kind="application/json", length=None):
            data = body.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(length or len(data)))
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self):
            url = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            self.serve(url.path, query)

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            self.serve(self.path, {key: values[0] for key, values in parse_qs(body).items()})

        def serve(self, path, query):
            stand_in.asked.append((path, query))
            if path.endswith("/status"):
                self.say(200, STATUS, kind="text/plain")
                return
            trouble = stand_in.troubles.popleft() if stand_in.troubles else None
            if isinstance(trouble, int):
                self.say(trouble, "<html>busy</html>", kind="text/html")
                return
            if trouble == "drop":
                self.close_connection = True
                self.connection.close()
                return
            result = (
                stand_in.answer(query["data"])
                if path.endswith("/interpreter")
                else stand_in.search(query["q"])
            )
            if trouble == "out of time":
                result = result | {"elements": [], "remark": "runtime error: Query timed out"}
            body = json.dumps(result)
            if trouble == "cut":
                self.say(200, body[: len(body) // 2], length=len(body.encode()))
                self.close_connection = True
            elif trouble == "portal":
                self.say(200, "<html>Please log in to the network</html>", kind="text/html")
            else:
                self.say(200, body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    stand_in.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield stand_in
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
