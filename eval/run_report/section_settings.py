"""With what the run was made: configurations, versions, what stood behind the names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from eval.run_report.markup import Html, folded, said, section, table
from rlcode.run_directory import flat_keys


def settings_section(records: Mapping[str, dict[str, Any]], proof: dict[str, Any], absent: Sequence[str]) -> Html:
    """The part of the page; `proof` is the export's, `absent` what the run names and is not here."""
    parts = [folded(f"configuration: {name}", _configuration(name, record)) for name, record in records.items()]
    if not records:
        parts.append(said("There is no run.json: an evaluation of a samples file, or a part of a run, has none."))
    if versions := _versions(records):
        parts.append(folded("package versions", versions))
    if proof:
        parts.append(folded("export_proof.json", _flat(proof, "Proof of the export")))
    parts += [said(f"Named by the run and not found: {what}.") for what in absent]
    return section("settings", "Configuration", *parts)


def _configuration(name: str, record: dict[str, Any]) -> Html:
    shown = {**record.get("config", {}), **({"made_with": record["made_with"]} if "made_with" in record else {})}
    return _flat(shown, f"Configuration of {name} ({record.get('kind', '?')})")


def _flat(values: dict[str, Any], caption: str) -> Html:
    rows = [[key, _shown(value)] for key, value in flat_keys(values).items() if value not in (None, "", [], {})]
    return table(["field", "value"], rows, caption)


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _versions(records: Mapping[str, dict[str, Any]]) -> Html | None:
    """A column for each different set of versions."""
    different: dict[str, dict[str, str]] = {}
    for name, record in records.items():
        versions = record.get("versions", {})
        if versions and versions not in different.values():
            different[name] = versions
    packages = list(dict.fromkeys(package for versions in different.values() for package in versions))
    if not packages:
        return None
    rows = [[package, *(versions.get(package, "–") for versions in different.values())] for package in packages]
    return table(["package", *different], rows, "Package versions")
