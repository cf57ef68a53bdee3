"""Reading a workflow's file. A stand-in until the strict reader lands."""

from __future__ import annotations

import yaml
from pydantic import ValidationError

from kernel.errors import InvalidInput
from pipeline.workflows.spec import Workflow


def read_workflow(text: str) -> Workflow:
    """The workflow of a file's text. Raises InvalidInput."""
    try:
        return Workflow.model_validate(yaml.safe_load(text))
    except (ValidationError, yaml.YAMLError) as error:
        raise InvalidInput(f"the workflow is not valid: {error}") from error
