"""What `rlcode doctor` shows to people: what is there, then what is missing and how it is mended."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from train.doctor.findings import Finding, State

_MARKS = {State.FINE: "[green]✓[/]", State.LIMITS: "[yellow]![/]", State.BLOCKS: "[bold red]✗[/]"}
_CONCLUSIONS = {
    True: "[green]training and judging are possible here[/]",
    False: "[bold red]training and judging are not possible here[/]: what is marked ✗ stands in the way",
}


def show(findings: Mapping[str, Sequence[Finding]], *, possible: bool) -> None:
    """Print a table of all findings, then what those that are not fine block, with the commands that mend them."""
    console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
    table = Table("", "", "what is there", box=None, pad_edge=False)
    for area, found in findings.items():
        table.add_row("", f"[bold]{area}[/]", "")
        for finding in found:
            table.add_row(_MARKS[finding.state], escape(finding.name), escape(finding.detail))
    console.print(table)
    wrong = [one for found in findings.values() for one in found if one.state != State.FINE]
    for finding in sorted(wrong, key=lambda one: one.state):  # what blocks comes first
        console.print(f"\n{_MARKS[finding.state]} [bold]{escape(finding.name)}[/]: {escape(finding.detail)}")
        if finding.blocks:
            console.print(f"  blocks: {escape(finding.blocks)}")
        if finding.mend:
            console.print(f"  mend:   {escape(finding.mend)}")
    console.print(f"\n{_CONCLUSIONS[possible]}")
