"""Canonical columns, and the words files use for them."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Collection, Hashable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar

import pandas as pd

from .errors import Finding, InputError
from .intake import IntakeLog

__all__ = ["SYNONYMS", "canonical_name", "is_personal", "rename_columns"]

Frame = TypeVar("Frame", bound=pd.DataFrame)

# What county files call the canonical columns. Compared without spaces, brackets and units.
SYNONYMS: Mapping[str, tuple[str, ...]] = {
    # XZQDM/XZQMC and ZLDWDM/ZLDWMC are what the national land survey's databases call them.
    "unit_code": (
        "区划代码",
        "行政区划代码",
        "统计用区划代码",
        "代码",
        "村代码",
        "村居代码",
        "社区代码",
        "所在村代码",
        "code",
        "xzqdm",
        "zldwdm",
    ),
    "unit_name": (
        "村社区",
        "村名",
        "村名称",
        "行政村",
        "行政村名称",
        "社区",
        "社区名称",
        "村居",
        "所在村社区",
        "所在村",
        "所属村",
        "所属村社区",
        "village",
        "xzqmc",
        "zldwmc",
    ),
    "name": (
        "名称",
        "设施名称",
        "网点名称",
        "机构名称",
        "场所名称",
        "小区名称",
        "单元名称",
        "自然村名称",
        "自然村",
        "道路名称",
        "路名",
    ),
    "township": ("乡镇", "乡镇街道", "乡镇名称", "所在乡镇", "所属乡镇", "街道", "town"),
    "township_code": ("乡镇代码",),
    "unit_kind": ("单元类型", "村社区类型", "类型"),
    "setting": ("城乡", "城乡分类"),
    "residents": ("常住人口", "常住人口数", "人口", "人口数", "总人口", "population", "pop"),
    "registered": ("户籍人口",),
    "households": ("户数", "家庭户数", "总户数", "常住户数"),
    "elderly": ("老年人口", "老年人数", "60岁以上人口", "60岁及以上人口"),
    "children": ("儿童", "未成年人"),
    "disabled": ("残疾人", "残疾人数", "持证残疾人"),
    "community_workers": ("社区工作者", "社区工作者人数", "社工人数"),
    "new_service_area_m2": ("新建社区商业和综合服务设施面积", "新建社区服务设施面积"),
    "new_building_area_m2": ("新建社区总建筑面积", "社区总建筑面积"),
    "self_service_terminal": ("政务自助终端", "政务通用自助服务", "自助服务终端"),
    "legal_adviser": ("法律顾问", "村居法律顾问"),
    "disabled_association": ("残疾人协会", "残协"),
    "disaster_informant": ("灾害信息员",),
    "agency_service": ("政务代办", "代办服务", "政务服务代办"),
    "broadband": ("宽带", "通宽带"),
    "five_g": ("5G", "通5G"),
    "resettlement": ("安置社区", "易地扶贫搬迁安置社区"),
    "hollow_village": ("空心村", "空心村治理"),
    "merger_class": ("搬迁撤并", "搬迁撤并类"),
    "old_estate_households": ("老旧小区户数",),
    "old_estate_built": ("老旧小区建成年份",),
    "facility_id": ("设施编号", "编号", "网点编号"),
    "kind": ("设施类型", "设施类别", "业态", "类别", "类型"),
    "floor_area_m2": ("建筑面积", "面积", "使用面积", "房屋面积", "floor_area", "area"),
    "activity_area_m2": ("活动区域面积", "活动面积", "居民活动区域面积"),
    "hours_per_day": ("每日开放时长", "开放时长", "日开放时长", "开放时间", "营业时间", "hours"),
    "status": ("使用状态", "状态"),
    "tenure": ("产权", "产权性质"),
    "served_by": ("共享设施编号", "共建共享", "依托设施编号"),
    "built_year": ("建成年份", "建成时间"),
    "official_covered": ("是否覆盖", "官方是否覆盖"),
    "longitude": ("经度", "东经", "lon", "lng", "long"),
    "latitude": ("纬度", "北纬", "lat"),
    "coordinates": ("坐标", "经纬度", "经纬度坐标", "地理坐标", "位置坐标", "lonlat", "latlon"),
    # In surveying x is north; which is which is told by the numbers.
    "x": ("x坐标", "横坐标", "东坐标", "easting", "point_x"),
    "y": ("y坐标", "纵坐标", "北坐标", "northing", "point_y"),
    "remarks": ("备注", "说明"),
    "storeys": ("层数", "楼层", "楼层数", "地上层数", "floors", "building:levels"),
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


# Headers under which people are named, and what tells that they are: such columns are not read.
_PERSONAL = re.compile(
    r"姓名|户主|联系人|负责人|管理员|身份证|证件号|手机|电话|联系方式|微信|邮箱|家庭住址|出生日期"
    r"|phone|mobile|telephone|id_?card|contact|person|email",
    flags=re.IGNORECASE,
)
_PLAIN = frozenset(
    ["序号", "备注", "说明", "no", "fid", "id", "objectid", "shapelength", "shapearea"]
)
_FIELD_BYTES = 10  # of a shapefile's field name


def _key(name: Any, *, brackets: bool = True) -> str:
    text = unicodedata.normalize("NFKC", str(name)).lower()
    if not brackets:
        text = re.sub(r"\([^)]*\)$", "", text.strip())
    return re.sub(r"[\s_()\-—·:：/、*]", "", text)


@cache
def _by_key() -> Mapping[str, tuple[str, ...]]:
    """Give the columns each word may stand for; 类型 is a unit's or a facility's."""
    meant: dict[str, tuple[str, ...]] = {}
    for canonical, words in SYNONYMS.items():
        for word in dict.fromkeys(_key(each) for each in (canonical, *words)):
            meant[word] = (*meant.get(word, ()), canonical)
    return meant


def _possible(header: Any) -> tuple[str, ...]:
    # A unit or a datum may stand in brackets at the end: 建筑面积（㎡）, 经度（CGCS2000）.
    return _by_key().get(_key(header)) or _by_key().get(_key(header, brackets=False)) or ()


def canonical_name(header: Any) -> str | None:
    """Give the canonical column a header stands for, or None.

    Examples
    --------
    >>> canonical_name("建筑面积（㎡）"), canonical_name("村（社区）"), canonical_name("unit_code")
    ('floor_area_m2', 'unit_name', 'unit_code')
    """
    return next(iter(_possible(header)), None)


def is_personal(header: Any) -> bool:
    """Say whether a header is one under which persons are named or can be reached.

    Examples
    --------
    >>> is_personal("负责人电话"), is_personal("设施名称")
    (True, False)
    """
    return bool(_PERSONAL.search(str(header)))


@cache
def _truncated() -> Mapping[str, frozenset[str]]:
    """Give what a shapefile leaves of each word: ten bytes, in GBK five characters."""
    cut: dict[str, set[str]] = {}
    for canonical, words in SYNONYMS.items():
        for word in (canonical, *words):
            for encoding in ("gbk", "utf-8"):
                whole = word.encode(encoding)
                if len(whole) > _FIELD_BYTES:
                    left = whole[:_FIELD_BYTES].decode(encoding, errors="ignore")
                    cut.setdefault(left.lower(), set()).add(canonical)
    return {left: frozenset(words) for left, words in cut.items()}


def _meant(header: Any, known: Collection[str]) -> str | None:
    """Give the column among `known` that a header stands for, cut to ten bytes or not."""
    words = _possible(header) or tuple(_truncated().get(str(header).lower(), ()))
    possible = [word for word in words if word in known]
    return possible[0] if len(possible) == 1 else None


def rename_columns(
    frame: Frame,
    columns: Mapping[str, str] | None,
    *,
    known: Sequence[str],
    file: str,
    log: IntakeLog | None = None,
    sheet: str = "",
) -> Frame:
    """Give the frame with canonical column names.

    Parameters
    ----------
    frame : DataFrame or GeoDataFrame
        As read.
    columns : mapping of str to str, optional
        ``{canonical: name in the file}``; goes before the table of synonyms.
    known : sequence of str
        The canonical columns this reader uses; others keep their names.
    file : str
        For messages.
    log : IntakeLog, optional
        Told what was mapped to what, what is not used, and which columns name persons.
    sheet : str
        For messages.

    Raises
    ------
    InputError
        Where `columns` names what is not there; lists every such name.
    """
    mapping: dict[Hashable, str] = {}
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
    geometry = getattr(frame, "_geometry_column_name", None)
    taken = set(mapping.values()) | {c for c in frame.columns if c in known and c not in mapping}
    twice = []
    for column in frame.columns:
        if column in mapping or column in known or column == geometry:
            continue
        word = _meant(column, known)
        if word is not None and word not in taken:
            mapping[column] = word
            taken.add(word)
        elif word is not None:
            twice.append((str(column), word))
    displaced = {
        column: f"{column}_original"
        for column in frame.columns
        if column in mapping.values() and column not in mapping and column in (columns or {})
    }
    if log is not None:
        _log_headers(frame, mapping, known, twice, log, sheet)
    return frame.rename(columns={**displaced, **mapping})


def _log_headers(
    frame: pd.DataFrame,
    mapping: Mapping[Hashable, str],
    known: Sequence[str],
    twice: Sequence[tuple[str, str]],
    log: IntakeLog,
    sheet: str,
) -> None:
    geometry = getattr(frame, "_geometry_column_name", None)
    unread = [c for c in frame.columns if c not in mapping and c not in known and c != geometry]
    told = {
        "header.read": [f"{was}→{word}" for was, word in mapping.items() if str(was) != word],
        "header.unread": [str(c) for c in unread if not (is_personal(c) or _key(c) in _PLAIN)],
        "header.personal": [str(c) for c in unread if is_personal(c)],
    }
    for code, words in told.items():
        # Sheets of one workbook have most headers in common: each is said once.
        if new := log.first_said(code, words):
            log.whole(code, sheet=sheet, words="，".join(new))
    for header, word in twice:
        first = next(str(c) for c in frame.columns if mapping.get(c, c) == word)
        log.whole("header.twice", sheet=sheet, field=word, value=header, other=first)
