"""`vouch config`: every setting, its value, and where that came from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, SecretStr
from pydantic_settings import EnvSettingsSource, TomlConfigSettingsSource
from rich.console import Console

from api.cli.call import Call, command, group
from api.cli.output import table
from api.views import Json, page_json
from kernel.settings import PREFIX, Settings

commands = group("Settings.")

FILE = "vouch.toml"


@command(commands, "show")
def show(call: Call) -> None:
    """Show every setting, its value, and where that came from; secrets are masked."""
    items = settings_json(call.settings(), {"home": call.flags.home, "workspace": call.flags.workspace})

    def words(out: Console) -> None:
        rows = [[item["name"], item["value"], item["from"], item["about"]] for item in items]
        out.print(table(["setting", "value", "from", "about"], rows))
        call.note(f"set one as {PREFIX}NAME in the environment, or as a line of {FILE} in the home folder")

    call.show(page_json(items), words)


def settings_json(settings: Settings, flags: dict[str, object]) -> list[Json]:
    """Each setting as `{"name", "value", "from", "about"}`; `from` is flag, environment, file or default."""
    given = {name for name, value in flags.items() if value is not None}
    environment = EnvSettingsSource(Settings)()
    file = TomlConfigSettingsSource(Settings, settings.home / FILE)()
    items = []
    for name, field in Settings.model_fields.items():
        places = (("flag", given), ("environment", environment), ("file", file))
        origin = next((place for place, names in places if name in names), "default")
        value = _shown(getattr(settings, name))
        items.append({"name": name, "value": value, "from": origin, "about": field.description or ""})
    return items


def _shown(value: object) -> object:
    if isinstance(value, BaseModel):
        return {name: _shown(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Mapping):
        return {name: _shown(one) for name, one in value.items()}
    if isinstance(value, tuple):
        return [_shown(one) for one in value]
    return str(value) if isinstance(value, SecretStr | Path) else value
