"""Canonical columns, the words files use for them, and checks that list every fault at once."""

from __future__ import annotations

import difflib
import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from html import escape
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio

from .errors import Finding, InputError, MissingDependencyError, MissingInputError, NoCrsError
from .postgis import is_database_url, read_table
from .terms import label

__all__ = [
    "SYNONYMS",
    "IntakeReport",
    "canonical_name",
    "found_at",
    "intake_report",
    "numbers",
    "read_layer",
    "rename_columns",
    "with_findings",
]

# What county files call the canonical columns. Compared without spaces, brackets and units.
SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "unit_code": ("区划代码", "行政区划代码", "统计用区划代码", "代码", "村代码", "code"),
    "unit_name": ("村社区", "村名", "行政村", "社区", "村居", "所在村社区"),
    "name": ("名称", "设施名称", "网点名称", "小区名称", "单元名称", "道路名称", "路名"),
    "township": ("乡镇", "乡镇街道", "所在乡镇", "街道", "town"),
    "township_code": ("乡镇代码",),
    "unit_kind": ("单元类型", "类型"),
    "setting": ("城乡", "城乡分类"),
    "residents": ("常住人口", "人口", "population", "pop"),
    "registered": ("户籍人口",),
    "households": ("户数", "家庭户数", "总户数"),
    "elderly": ("老年人口", "60岁以上人口"),
    "children": ("儿童", "未成年人"),
    "resettlement": ("安置社区", "易地扶贫搬迁安置社区"),
    "hollow_village": ("空心村", "空心村治理"),
    "merger_class": ("搬迁撤并", "搬迁撤并类"),
    "old_estate_households": ("老旧小区户数",),
    "old_estate_built": ("老旧小区建成年份",),
    "facility_id": ("设施编号", "编号", "网点编号"),
    "kind": ("设施类型", "业态", "类别"),
    "floor_area_m2": ("建筑面积", "面积", "floor_area"),
    "activity_area_m2": ("活动区域面积", "活动面积", "居民活动区域面积"),
    "hours_per_day": ("每日开放时长", "开放时长", "日开放时长"),
    "status": ("使用状态", "状态"),
    "tenure": ("产权", "产权性质"),
    "served_by": ("共享设施编号", "共建共享", "依托设施编号"),
    "built_year": ("建成年份", "建成时间"),
    "official_covered": ("是否覆盖", "官方是否覆盖"),
    "longitude": ("经度", "东经", "lon", "lng", "long"),
    "latitude": ("纬度", "北纬", "lat"),
    "remarks": ("备注", "说明"),
    "demand_id": ("自然村编号", "需求点编号"),
    "data_note": ("数据说明",),
    "highway": (
        "道路等级",
        "等级",
        "公路等级",
        "技术等级",
        "行政等级",
        "道路类型",
        "道路类别",
        "fclass",
        "class",
        "road_class",
    ),
    "oneway": ("单行", "单行道", "单向", "单向通行", "one_way"),
    "oneway_bicycle": ("oneway:bicycle", "非机动车单行"),
    "speed_kph": ("车速", "行车速度", "设计速度", "设计车速", "平均车速", "speed_kmh"),
    "maxspeed": ("限速", "max_speed"),
    "bridge": ("桥", "桥梁", "是否桥梁"),
    "tunnel": ("隧道", "是否隧道"),
    "layer": ("层", "层级"),
    "ref": ("道路编号", "路线编号", "线路编号", "路线代码"),
    "access": ("通行权限", "通行限制"),
    "foot": ("行人", "行人通行"),
    "bicycle": ("非机动车", "非机动车通行", "自行车通行"),
    "vehicle": ("车辆", "车辆通行"),
    "motor_vehicle": ("机动车", "机动车通行"),
    "osmid": ("osm_id",),
}


def _key(name: Any, *, brackets: bool = True) -> str:
    text = unicodedata.normalize("NFKC", str(name)).lower()
    if not brackets:
        text = re.sub(r"\([^)]*\)$", "", text.strip())
    return re.sub(r"[\s_()\-—·:：/、]", "", text)


_BY_KEY = {
    _key(word): canonical for canonical, words in SYNONYMS.items() for word in (canonical, *words)
}


def canonical_name(header: Any) -> str | None:
    """Give the canonical column a header stands for, or None.

    Examples
    --------
    >>> canonical_name("建筑面积（㎡）"), canonical_name("村（社区）"), canonical_name("unit_code")
    ('floor_area_m2', 'unit_name', 'unit_code')
    """
    # A unit or a datum may stand in brackets at the end: 建筑面积（㎡）, 经度（CGCS2000）.
    return _BY_KEY.get(_key(header)) or _BY_KEY.get(_key(header, brackets=False))


@dataclass(frozen=True)
class IntakeReport:
    """What was noticed and done while reading: a table that shows itself in a notebook."""

    findings: tuple[Finding, ...]

    @property
    def table(self) -> pd.DataFrame:
        """One row a finding: severity, file, sheet, row, field, value, rule, cure."""
        columns = ["severity", "file", "sheet", "row", "field", "value", "rule", "cure"]
        frame = pd.DataFrame([asdict(finding) for finding in self.findings], columns=columns)
        return frame.astype({"row": "Int64"})

    def __len__(self) -> int:
        return len(self.findings)

    def _repr_html_(self) -> str:
        if not self.findings:
            return "<p>无异常 / nothing to report</p>"
        table = self.table.rename(columns=lambda name: label("column", name))
        return (
            f"<p>{escape(str(len(self)))} 条 / findings</p>{table.to_html(index=False, na_rep='')}"
        )


def intake_report(table: pd.DataFrame) -> IntakeReport:
    """Give what a reader noticed about a table it read.

    Parameters
    ----------
    table : DataFrame or GeoDataFrame
        As `read_units`, `read_facilities` or `read_demand` returned it.

    Returns
    -------
    IntakeReport
        Its findings; empty where there were none.
    """
    return IntakeReport(tuple(Finding(**entry) for entry in table.attrs.get("intake", ())))


def with_findings(table: gpd.GeoDataFrame, findings: Iterable[Finding]) -> gpd.GeoDataFrame:
    """Give the table with its findings kept as plain, storable metadata."""
    table.attrs["intake"] = [asdict(finding) for finding in findings]
    return table


def read_layer(
    path: Path | str,
    *,
    layer: str | None = None,
    choose: Callable[[Sequence[str]], Sequence[str] | None] | None = None,
) -> gpd.GeoDataFrame:
    """Read one layer of a vector file or a PostGIS table, or say what is wrong with it.

    Parameters
    ----------
    path : pathlib.Path or str
        Any file GDAL reads, GeoParquet, or the URL of a PostGIS database
        (``postgresql://user@host/database``).
    layer : str, optional
        Which layer, of a database which table (``"schema.table"``); needed only where there are
        several.
    choose : callable, optional
        Given the names of the columns, which to read (the geometry always is); None for all.

    Raises
    ------
    MissingInputError
        Where the file or the layer does not exist; names what does.
    NoCrsError
        Where the layer does not state its CRS.
    InputError
        Where it cannot be read, holds nothing, or holds several layers and none was named.
    """
    if is_database_url(path):
        frame, place = read_table(str(path), layer, choose=choose)
        cure = "with UpdateGeometrySRID"
    else:
        path, cure = Path(path), "where the file was made (a .prj beside a Shapefile)"
        frame, place = _read_file(path, layer, choose), str(path)
    if len(frame) == 0:
        raise InputError(f"{place}: the layer is empty; give a file that holds features")
    if frame.crs is None:
        raise NoCrsError(
            f"{place}: the layer does not say its coordinate reference system; set it "
            f"{cure}, e.g. to EPSG:4490 for CGCS2000 lon/lat"
        )
    return frame


def _read_file(
    path: Path,
    layer: str | None,
    choose: Callable[[Sequence[str]], Sequence[str] | None] | None,
) -> gpd.GeoDataFrame:
    if not path.exists():
        near = difflib.get_close_matches(
            path.name, [p.name for p in path.parent.glob("*")] if path.parent.is_dir() else [], n=1
        )
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise MissingInputError(f"{path}: there is no such file{hint}")
    if path.suffix.lower() in {".parquet", ".geoparquet"}:
        return _read_parquet(path, choose)
    return _read_with_gdal(path, layer, choose)


def _read_parquet(
    path: Path, choose: Callable[[Sequence[str]], Sequence[str] | None] | None
) -> gpd.GeoDataFrame:
    try:
        parquet = import_module("pyarrow.parquet")  # an optional dependency
        wanted = None
        if choose is not None:
            schema = parquet.read_schema(path)
            about = json.loads((schema.metadata or {}).get(b"geo", b"{}"))
            geometry = about.get("primary_column", "geometry")
            chosen = choose([name for name in schema.names if name != geometry])
            wanted = None if chosen is None else [*chosen, geometry]
        return gpd.read_parquet(path, columns=wanted)
    except ImportError as fault:
        raise MissingDependencyError(
            "reading GeoParquet needs pyarrow: pip install 'facility-coverage[parquet]'"
        ) from fault
    except (ValueError, OSError) as fault:
        raise InputError(f"{path}: cannot be read as GeoParquet ({fault})") from None


def _read_with_gdal(
    path: Path,
    layer: str | None,
    choose: Callable[[Sequence[str]], Sequence[str] | None] | None,
) -> gpd.GeoDataFrame:
    try:
        found = pyogrio.list_layers(path)
    except pyogrio.errors.DataSourceError as fault:
        raise InputError(f"{path}: cannot be read as a vector file ({fault})") from None
    layers = [str(name) for name, _ in found]
    spatial = [str(name) for name, kind in found if kind is not None]
    if layer is not None and layer not in layers:
        raise MissingInputError(f"{path}: no layer {layer!r}; it has {', '.join(layers)}")
    if layer is None and len(spatial) > 1:
        raise InputError(f"{path}: holds the layers {', '.join(spatial)}; say which with layer=…")
    if not spatial:
        raise InputError(f"{path}: holds no layer with geometries")
    layer = layer or spatial[0]
    wanted = None
    if choose is not None:
        wanted = choose([str(name) for name in pyogrio.read_info(path, layer=layer)["fields"]])
    frame = pyogrio.read_dataframe(
        path,
        layer=layer,
        columns=None if wanted is None else list(wanted),
        # A third of the time, where pyarrow is installed.
        use_arrow=choose is not None and find_spec("pyarrow") is not None,
    )
    if not isinstance(frame, gpd.GeoDataFrame):
        raise InputError(f"{path}: layer {layer!r} has no geometries")
    return frame


def rename_columns(
    frame: gpd.GeoDataFrame,
    columns: Mapping[str, str] | None,
    *,
    known: Sequence[str],
    file: str,
) -> gpd.GeoDataFrame:
    """Give the frame with canonical column names.

    Parameters
    ----------
    frame : GeoDataFrame
        As read.
    columns : mapping of str to str, optional
        ``{canonical: name in the file}``; goes before the table of synonyms.
    known : sequence of str
        The canonical columns this reader uses; others keep their names.
    file : str
        For messages.

    Raises
    ------
    InputError
        Where `columns` names what is not there; lists every such name.
    """
    mapping: dict[str, str] = {}
    faults = []
    for canonical, original in (columns or {}).items():
        if canonical not in known:
            near = difflib.get_close_matches(canonical, known, n=1)
            cure = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            faults.append(
                Finding("error", "columns= maps canonical names", cure, file, field=canonical)
            )
        elif original not in frame:
            names = [str(c) for c in frame.columns]
            near = difflib.get_close_matches(original, names, n=1)
            cure = f"did you mean {near[0]!r}?" if near else f"the file has {', '.join(names)}"
            faults.append(
                Finding(
                    "error", "columns= names a column that is not there", cure, file, field=original
                )
            )
        else:
            mapping[original] = canonical
    if faults:
        raise InputError(f"{file}: the given columns do not fit", faults)
    taken = set(mapping.values()) | {c for c in frame.columns if c in known and c not in mapping}
    for column in frame.columns:
        word = canonical_name(column)
        if word is not None and column not in mapping and word in known and word not in taken:
            mapping[column] = word
            taken.add(word)
    displaced = {
        column: f"{column}_original"
        for column in frame.columns
        if column in mapping.values() and column not in mapping and column in (columns or {})
    }
    return frame.rename(columns={**displaced, **mapping})


def numbers(
    values: pd.Series, *, field: str, places: Sequence[dict[str, Any]], faults: list[Finding]
) -> pd.Series:
    """Read a column as numbers ≥ 0; blanks are missing, anything else is a fault.

    Parameters
    ----------
    values : Series
        The column as read.
    field : str
        Its canonical name.
    places : sequence of dict
        By row, the `file`, `sheet` and `row` a fault is reported at.
    faults : list of Finding
        Faults are added here.
    """
    blank = values.isna() | values.astype(str).str.strip().isin(["", "—", "-", "/", "无"])
    numeric = pd.to_numeric(values.where(~blank), errors="coerce").astype(float)
    faults += found_at(
        numeric.isna() & ~blank,
        places,
        rule="must be a number",
        cure="write digits only, or leave it blank where it is not known",
        field=field,
        values=values.to_numpy(dtype=object),
    )
    faults += found_at(
        numeric < 0,
        places,
        rule="cannot be negative",
        cure="correct it, or leave it blank where it is not known",
        field=field,
        values=values.to_numpy(dtype=object),
    )
    return numeric


def found_at(
    wrong: Any,
    places: Sequence[dict[str, Any]],
    *,
    rule: str,
    cure: str,
    field: str = "",
    values: Any = None,
    severity: str = "error",
) -> list[Finding]:
    """Give one finding for every row where `wrong` holds.

    Parameters
    ----------
    wrong : array-like of bool
        By row.
    places : sequence of dict
        By row, its `file`, `sheet` and `row`.
    rule, cure, field, severity : str
        As for `facility_coverage.errors.Finding`.
    values : sequence, optional
        By row, the value to show.
    """
    return [
        Finding(
            severity,
            rule,
            cure,
            field=field,
            value="" if values is None else str(values[position]),
            **places[position],
        )
        for position in np.flatnonzero(np.asarray(wrong, dtype=bool)).tolist()
    ]
