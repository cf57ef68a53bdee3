"""How an experiment stands, in figures: each arm, each comparison and each guard, as JSON values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.prompts.sequential import LARGEST, imbalance, notable
from pipeline.prompts.state import ExperimentState
from pipeline.prompts.trial_metrics import LOWER, METRICS, SHARES, ArmTally, Tally, percentile

Json = dict[str, Any]
WAITING, HOLDS, BROKEN = "waiting", "holds", "broken"
UNLIKELY = 1000
"""Evidence against the declared shares from which on something is broken: by chance in one of 1,000 experiments."""
_DIGITS = 6


def status_of(experiment: ExperimentState, tally: Tally) -> Json:
    """Everything that is told of an experiment besides what is in the journal."""
    spec = experiment.spec
    return {
        "declared": {name: value for name, value in spec.items() if name not in ("arms", "kind")},
        "figures": {name: _arm_json(arm) for name, arm in tally.arms.items()},
        "comparisons": comparisons_of(spec, tally),
        "other_metrics": _others(spec, tally),
        "winner": tally.decided[0] if tally.decided else None,
        "guards": list(guards_of(spec, tally)),
        "drawn_as_declared": _imbalance(spec, tally) < UNLIKELY,
    }


def _imbalance(spec: Mapping[str, Any], tally: Tally) -> float:
    counts = [len(arm.units) for arm in tally.arms.values()]
    return imbalance(counts, [float(arm["share"]) for arm in spec["arms"]])


def figures_of(experiment: ExperimentState, tally: Tally) -> Json:
    """The figures that the journal keeps of how an experiment ended."""
    metric = experiment.spec["metric"]["name"]
    arms = {name: {"answers": arm.answers, "mean": _round(arm.figure(metric))} for name, arm in tally.arms.items()}
    return {"metric": metric, "arms": arms, "comparisons": comparisons_of(experiment.spec, tally)}


def comparisons_of(spec: Mapping[str, Any], tally: Tally) -> list[Json]:
    """Each arm against the first by the metric that decides. `difference` is the arm's mean less the first's, of
    outcomes as they are compared; [low, high] has held it, at every look so far, with a probability of 1 - alpha.
    """
    metric = spec["metric"]
    alpha = spec["alpha"] / len(tally.others)
    found = []
    for name in tally.others:
        comparison = tally.comparisons[(name, metric["name"])]
        low, high = comparison.interval(alpha)
        found.append(
            {
                "arm": name,
                "against": tally.first,
                "metric": metric["name"],
                "better": "lower" if metric["name"] in LOWER and metric.get("within") is None else "higher",
                "counted": {arm: tally.counted[(arm, metric["name"])] for arm in (tally.first, name)},
                "difference": _round(comparison.difference),
                "low": _round(low),
                "high": _round(high),
                "evidence": _round(comparison.evidence_peak),
                "needed": _round(1 / alpha),
                "p_value": _round(min(1.0, 1 / max(comparison.evidence_peak, 1 / LARGEST))),
            }
        )
    return found


def _others(spec: Mapping[str, Any], tally: Tally) -> list[Json]:
    """The metrics that decide nothing. `notable` by e-BH over all of them: at most a share alpha is so by chance."""
    names = [name for name in tally.metrics if name != spec["metric"]["name"]]
    pairs = [(arm, name) for arm in tally.others for name in names if tally.comparisons[(arm, name)].differences]
    evidence = {f"{arm}\0{name}": tally.comparisons[(arm, name)].evidence_peak for arm, name in pairs}
    chosen = notable(evidence, spec["alpha"])
    return [
        {
            "arm": arm,
            "metric": name,
            "difference": _round(tally.comparisons[(arm, name)].difference),
            "evidence": _round(evidence[f"{arm}\0{name}"]),
            "notable": f"{arm}\0{name}" in chosen,
        }
        for arm, name in pairs
    ]


def guards_of(spec: Mapping[str, Any], tally: Tally) -> Iterator[Json]:
    """Each guard on each arm but the first, and whether it holds."""
    place = 0
    for guard in spec["guards"]:
        relative = guard.get("worse_by") is not None
        for name in tally.others:
            yield (_relative if relative else _absolute)(guard, name, tally, place)
        place += relative


def breach_of(spec: Mapping[str, Any], tally: Tally) -> tuple[str, str] | None:
    """The arm that broke a guard, and how, in words that name nobody; None where all hold."""
    for one in guards_of(spec, tally):
        if one["state"] == BROKEN:
            return one["arm"], f"arm {one['arm']}: {one['told']}"
    return None


def _absolute(guard: Mapping[str, Any], name: str, tally: Tally, _: int) -> Json:
    arm = tally.arms[name]
    value, count = arm.figure(guard["metric"]), len(arm.of(guard["metric"]))
    most, least = guard.get("at_most"), guard.get("at_least")
    state, told = WAITING, f"{guard['metric']} has {count} of {guard['after']} values"
    if value is not None and count >= guard["after"]:
        over, under = most is not None and value > most, least is not None and value < least
        state = BROKEN if over or under else HOLDS
        limit = f"above {most:g}" if over else f"below {least:g}" if under else "as it should be"
        told = f"{guard['metric']} is {value:.4g} after {count} values, {limit}"
    return dict(guard) | {"arm": name, "value": _round(value), "count": count, "state": state, "told": told}


def _relative(guard: Mapping[str, Any], name: str, tally: Tally, place: int) -> Json:
    held = tally.guards[(name, place)]
    needed = len(tally.guards) / tally.alpha
    state = BROKEN if held.evidence.peak >= needed else HOLDS if held.count else WAITING
    told = f"{guard['metric']} is worse than {tally.first}'s by more than {guard['worse_by']:g}"
    told = told if state == BROKEN else f"no proof that {told}"
    told += f" (evidence {min(held.evidence.peak, LARGEST):.4g}, needed {needed:.4g})"
    value = tally.arms[name].figure(guard["metric"])
    return {name: value for name, value in guard.items() if name != "after"} | {
        "arm": name,
        "value": _round(value),
        "count": held.count,
        "state": state,
        "told": told,
    }


def _arm_json(arm: ArmTally) -> Json:
    latency = arm.of("latency_ms")
    means = {name: _round(arm.figure(name)) for name in METRICS if name not in ("latency_ms", *SHARES)}
    return {
        "answers": arm.answers,
        "units": len(arm.units),
        **{name: _round(arm.figure(name)) for name in SHARES},
        **means,
        "opinions": len(arm.opinions),
        "latency_ms": {"p50": _round(percentile(latency, 0.5)), "p95": _round(percentile(latency, 0.95))},
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(float(value), _DIGITS)
