"""Workflows in a workspace, with all that can be done with them, for the tests that change each of their records."""

from __future__ import annotations

from dataclasses import replace

from fast_parts import FastWorkspace
from workflow_texts import ADMIN, EDITOR, REVIEWER, workflow_text

from kernel.records import Role
from kernel.storage.erasure import ErasureRequest
from kernel.storage.triggers import DocumentChanges
from kernel.storage.workflows import Workflows
from pipeline.workflows.gates import Proofs
from pipeline.workflows.library import WorkflowLibrary


def fill_workflows(made: FastWorkspace) -> None:
    """A workflow with versions that went live and back, a pilot, a paused one, secrets of events; a person who did some
    of that is erased.
    """
    library = WorkflowLibrary(Workflows(made.database), proofs=Proofs(lambda _: 9))
    key, _ = made.keys.create(Role.ADMIN, None, "somebody")
    gone = replace(ADMIN, id=key.id)
    for title in ("One", "Two"):
        version = library.save(workflow_text(title=title), EDITOR.id, f"the reason for {title}")
        library.pilot("weekly", version.version, REVIEWER, "try it")
        library.submit("weekly", version.version, EDITOR)
        library.approve("weekly", version.version, REVIEWER, "fine")
        library.release("weekly", version.version, gone, "go")
    library.rollback("weekly", ADMIN, "back")
    library.pause("weekly", gone, "holidays")
    library.comment("weekly", 0, EDITOR, "a remark")
    for name in ("ticket.new", "ticket.new", "ticket.old"):
        made.event_secrets.make(name, ADMIN.id)
    made.event_secrets.end("ticket.old", gone.id)
    DocumentChanges(made.database).mark(("weekly", "documents first 1"), 1)
    made.eraser.erase(ErasureRequest((), (key.id,)), "a request", "local")
