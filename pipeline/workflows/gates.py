"""What a version of a workflow must have behind it to go live: approvals, green runs, an owner, a checklist."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kernel.errors import Conflict
from kernel.records import WorkflowVersion
from pipeline.standing import Standing
from pipeline.workflows.chooser import Item, autonomy_of
from pipeline.workflows.spec import Workflow
from pipeline.workflows.state import WorkflowState


@dataclass(frozen=True, slots=True)
class Gates:
    """What the policy in force asks of a version. `pilot_runs` are the fewest green unattended runs: a workflow's file
    may ask for more; 0: none are needed.
    """

    approvals: int = 1
    pilot_runs: int = 1
    owner: bool = True

    def runs_needed(self, workflow: Workflow) -> int:
        """How many green runs a version of such a file needs."""
        return max(self.pilot_runs, workflow.pilot_runs) if self.pilot_runs else 0


def _no_runs(_: str) -> int:
    return 0


@dataclass(frozen=True, slots=True)
class Proofs:
    """What a version has shown: `green_runs` counts the unattended runs of exactly the version of a hash which ended
    well; `autonomy` gives the checklist for what decides by itself, empty where nothing does.
    """

    green_runs: Callable[[str], int] = _no_runs
    autonomy: Callable[[Workflow], Sequence[Item]] = autonomy_of


def check_gates(
    version: WorkflowVersion, workflow: Workflow, known: WorkflowState, gates: Gates, proofs: Proofs
) -> None:
    """Raises Conflict that says what a version still needs to go live."""
    missing = missing_now(version, workflow, known, gates, proofs)
    if missing:
        raise Conflict(f"version {version.version} of workflow {version.name} cannot go live: {'; '.join(missing)}")


def missing_now(
    version: WorkflowVersion, workflow: Workflow, known: WorkflowState, gates: Gates, proofs: Proofs
) -> list[str]:
    """What keeps a version from going live, each as a clause that says what to do. One that was live before needs
    nothing, where it is not retired.
    """
    standing = known.standing(version.version)
    if known.retired or standing.retired:
        return ["it is retired"]
    if known.was_live(version.version):
        return []
    found = ["it names no owner"] if gates.owner and not workflow.owner else []
    found += _missing_approvals(standing, gates)
    needed = gates.runs_needed(workflow)
    green = proofs.green_runs(version.sha256) if needed else 0
    if green < needed:
        found.append(f"it has {green} of {needed} green unattended runs (vouch workflows pilot, then let it run)")
    lacking = [f"{item.name} ({item.why})" for item in proofs.autonomy(workflow) if not item.green]
    return found + ([f"its agent is not ready to act: {', '.join(lacking)}"] if lacking else [])


def _missing_approvals(standing: Standing, gates: Gates) -> list[str]:
    if not gates.approvals or (standing.submitted and len(standing.approvers) >= gates.approvals):
        return []
    have = len(standing.approvers) if standing.submitted else 0
    what = "submit it for review" if not standing.submitted else "somebody other than its author must approve it"
    return [f"it has {have} of {gates.approvals} approvals ({what})"]
