"""The three shortfall projects: who, how, how many, by when."""

from __future__ import annotations

import dataclasses

import pandas as pd

import facility_coverage as fc


def test_the_quota_is_counted_in_whole_villages(projects, report):
    rural = projects[projects["setting"] == "rural"]
    state = report.verdicts.query("kind == 'comprehensive_service'").set_index("unit_code")[
        "ledger_state"
    ]
    helps = rural["in_quota"] & (rural["unit_code"].map(state) != "covered")
    assert helps.sum() >= 40  # 120 → 160 of 199; some villages come with what serves others
    assert projects["cumulative_units"].max() == helps.sum()
    assert (projects["deadline"] == 2025).all()


def test_every_failing_village_has_one_project_and_no_covered_one_has(projects, report):
    assert projects["unit_code"].is_unique
    verdicts = report.verdicts.query("kind == 'comprehensive_service' and setting == 'rural'")
    flagged = report.units.set_index("unit_code")[["resettlement", "hollow_village"]].any(axis=1)
    open_ = set(verdicts.loc[verdicts["ledger_state"] != "covered", "unit_code"])
    listed = set(projects.loc[projects["setting"] == "rural", "unit_code"])
    assert open_ <= listed
    assert all(flagged[code] for code in listed - open_)
    assert projects["number"].tolist() == list(range(1, len(projects) + 1))


def test_order_b_c_a_and_one_project_a_unit(projects, report):
    facts = report.units.set_index("unit_code")
    special = facts["resettlement"] | facts["hollow_village"]
    assert (projects["project"] == "resettlement").tolist() == special[
        projects["unit_code"]
    ].tolist()
    estates = projects.loc[projects["project"] == "old_estate", "unit_code"]
    assert (facts.loc[estates, "old_estate_built"] <= 2000).all()


def test_merger_class_villages_get_no_new_build(projects, report):
    merger = report.units.loc[report.units["merger_class"], "unit_code"]
    natures = projects.loc[
        (projects["project"] == "village") & projects["unit_code"].isin(merger), "nature"
    ]
    assert len(natures) > 0
    assert not natures.isin(["new_build", "extension"]).any()


def test_natures_follow_reasons(projects):
    villages = projects[projects["project"] == "village"]
    by_reason = villages.groupby("reasons")["nature"].unique().map(set)
    assert by_reason["short_hours"] <= {"operation", "sharing"}
    assert by_reason["no_data"] == {"verify"}
    assert by_reason["no_facility"] <= {"new_build", "sharing"}
    assert by_reason["too_small"] <= {"extension", "sharing"}
    unknown = villages["nature"] == "verify"
    assert villages.loc[unknown, "short_floor_area_m2"].isna().all()  # unknown is not 0


def test_missing_floor_area_recomputed(projects, report):
    builds = projects[(projects["project"] == "village") & (projects["nature"] == "new_build")]
    households = (
        report.units.set_index("unit_code")["households"].loc[builds["unit_code"]].to_numpy(float)
    )
    expected = pd.Series(0.30 * households).clip(lower=200).to_numpy()
    own_in_use = report.facilities.query("kind == 'comprehensive_service' and status == 'in_use'")[
        "unit_code"
    ]
    assert not builds["unit_code"].isin(own_in_use).any()
    assert (builds["short_floor_area_m2"].to_numpy() == expected).all()


def test_sites_lie_in_their_unit_or_at_the_facility(projects, report):
    units = report.units.set_index("unit_code").geometry
    at = report.facilities.set_index("facility_id").geometry
    for row in projects.itertuples():
        works_on_host = row.nature in {"extension", "operation", "internal_refit", "verify"}
        if works_on_host and row.host_facility_id in at.index:
            assert row.geometry.distance(at[row.host_facility_id]) < 1e-9
        else:
            assert units[row.unit_code].intersects(row.geometry)


def test_the_summary_adds_up(projects, report):
    summary = fc.project_summary(projects, report).set_index("project")
    assert summary["units_needed"].sum() == len(projects)
    assert summary.loc["resettlement", "quota"] == summary.loc["resettlement", "units_needed"]
    assert pd.isna(summary.loc["village", "short_floor_area_m2"])  # some sizes are not known


def test_a_county_without_shortfalls(report, roads):
    done = report.verdicts.assign(ledger_state="covered", reachable_state="covered")
    nothing = report.units.assign(resettlement=False, hollow_village=False, old_estate_built=pd.NA)
    projects = fc.propose_projects(dataclasses.replace(report, verdicts=done, units=nothing), roads)
    assert projects.empty
    assert projects.crs == report.units.crs
