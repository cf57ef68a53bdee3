"""Reports of test runs as JUnit XML, which CI systems read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree as Xml

from pipeline.prompts.replies import FAILED, SKIPPED
from pipeline.prompts.results import CaseResult, ModelRun, Report

_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(reports: Sequence[Report]) -> str:
    """One `testsuite` a version and model, one `testcase` a case; figures are properties. Characters that XML does not
    have (XML 1.0, section 2.2) become U+FFFD.
    """
    root = Xml.Element("testsuites", {"name": "vouch prompts test"})
    for report in reports:
        for run in report.runs:
            _suite(root, report, run)
    for name in ("tests", "failures", "skipped"):
        root.set(name, str(sum(int(one.get(name, "0")) for one in root)))
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(root: Xml.Element, report: Report, run: ModelRun) -> None:
    name = f"{report.version.name}@{report.version.version}"
    counts = {"tests": len(run.results), "failures": run.count(FAILED), "skipped": run.count(SKIPPED), "errors": 0}
    made = Xml.SubElement(root, "testsuite", _plain({"name": f"{name} {run.model}", "time": _seconds(run.results)}))
    for key, count in counts.items():
        made.set(key, str(count))
    figures = {f"metrics.{key}": value for key, value in run.metrics.items()}
    known = {"sha256": report.version.sha256, "model": run.model, "suite_sha256": report.suite_sha256, **figures}
    properties = Xml.SubElement(made, "properties")
    for key, value in known.items():
        if value is not None:
            Xml.SubElement(properties, "property", _plain({"name": key, "value": value}))
    for one in run.results:
        _case(made, name, one, one in run.regressed)


def _case(parent: Xml.Element, version: str, one: CaseResult, regression: bool) -> None:
    group = f"{version}.{one.suite}" if one.suite else version
    made = Xml.SubElement(parent, "testcase", _plain({"classname": group, "name": one.case, "time": _seconds([one])}))
    if one.state == SKIPPED:
        Xml.SubElement(made, "skipped", _plain({"message": one.reason}))
    if one.state == FAILED:
        kind = "regression" if regression else "failure"
        failure = Xml.SubElement(made, "failure", _plain({"message": one.reason, "type": kind}))
        failure.text = _clean("\n\n".join([one.reason, *(reply.text for reply in one.replies)]))


def _seconds(results: Sequence[CaseResult]) -> str:
    return f"{sum(reply.latency_ms for one in results for reply in one.replies) / 1000:.3f}"


def _plain(values: dict[str, object]) -> dict[str, str]:
    return {name: _clean(str(value)) for name, value in values.items()}


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
