"""What every command shares: the flags that all take, the workspace it works on, how it prints, and how it fails."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_type_hints

import typer
from rich.console import Console

from api.assembly import Workspace
from api.cli.flags import Flags, HomeFlag, JsonFlag, WorkspaceFlag, remember
from api.cli.output import console, safe, table, write_json
from api.views import Json, page_json
from kernel.errors import InvalidInput, Unavailable, VouchError
from kernel.settings import Settings

INTERRUPTED = 130


class Call:
    """One call of a command. The workspace is opened when it is first needed, and closed at the end."""

    def __init__(self, flags: Flags) -> None:
        self.flags = flags
        self._workspace: Workspace | None = None
        self.parts: dict[str, Any] = {}
        """What commands made and share, by name."""

    def settings(self, **flags: Any) -> Settings:
        """The settings in force, with flags of the command itself. Raises InvalidInput for a wrong one."""
        return Settings.load(**{"home": self.flags.home, "workspace": self.flags.workspace, **flags})

    def open(self, settings: Settings) -> Workspace:
        """Open the workspace of these settings. Raises Unavailable where its folder cannot be written."""
        try:
            settings.workspace_folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(
                f"{settings.workspace_folder} cannot be written: {error.strerror}; choose another --home"
            ) from error
        self._workspace = Workspace(settings)
        return self._workspace

    @property
    def workspace(self) -> Workspace:
        """The workspace that the flags name."""
        return self._workspace or self.open(self.settings())

    @property
    def with_model(self) -> Workspace:
        """The workspace, after saying that its embedding model will be made, where it is not there yet."""
        workspace = self.workspace
        if not (workspace.settings.model_folder / "manifest.json").is_file():
            self.note("preparing the embedding model, once for this home; this takes about 15 seconds")
        return workspace

    def snapshot(self, as_of: str | None) -> int:
        """The snapshot that `--as-of` names, or the live one."""
        snapshots = self.workspace.snapshots
        return snapshots.live().snapshot if as_of is None else snapshots.resolve(as_of)

    def show(self, document: Json, words: Callable[[Console], None]) -> None:
        """Print the result: the JSON document under `--json`, else what `words` prints."""
        if self.flags.json:
            write_json(document)
        else:
            words(console())

    def show_list(self, items: Sequence[Json], cursor: str | None, columns: Sequence[str]) -> None:
        """Print one page of a listing; `columns` are the members that people see."""

        def words(out: Console) -> None:
            if not items:
                out.print("nothing to list")
                return
            out.print(
                table([name.replace("_", " ") for name in columns], [[i[name] for name in columns] for i in items])
            )
            if cursor is not None:
                self.note(f"there are more: --cursor {cursor}")

        self.show(page_json(items, cursor), words)

    def note(self, text: str) -> None:
        """Tell a person something, on standard error."""
        console(error=True).print(safe(text), soft_wrap=True)

    def close(self) -> None:
        """Give the workspace back."""
        if self._workspace is not None:
            self._workspace.close()


def page_of(items: Sequence[Json], limit: int, name: str) -> tuple[Sequence[Json], str | None]:
    """The first `limit` of `items` (which hold one more where there is a further page), and the cursor of the rest."""
    return (items, None) if len(items) <= limit else (items[:limit], str(items[limit - 1][name]))


def number_cursor(cursor: str | None) -> int | None:
    """A cursor that counts. Raises InvalidInput where it was not one of ours."""
    if cursor is None or cursor.isdecimal():
        return None if cursor is None else int(cursor)
    raise InvalidInput(f"{cursor!r} is not a cursor of this list; use the `next_cursor` of the page before")


@contextmanager
def edge(flags: Flags) -> Iterator[Call]:
    """Run a command: errors of ours become one line and an exit code, anything else keeps its traceback."""
    call = Call(flags)
    try:
        yield call
    except VouchError as error:
        _fail(flags, error.slug, str(error))
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt as error:
        call.note("interrupted: what was published stays, the rest is taken up by the next run")
        raise typer.Exit(INTERRUPTED) from error
    except (typer.Exit, BrokenPipeError):
        raise
    except Exception as error:
        what = next(iter(str(error).splitlines()), "no words")
        _fail(flags, "internal", f"a fault of Vouch, {type(error).__name__}: {what}; the traceback is on stderr")
        raise
    finally:
        call.close()


def _fail(flags: Flags, slug: str, detail: str) -> None:
    sys.stdout.flush()
    if flags.json:
        write_json({"error": {"type": slug, "detail": detail}}, line=True)
    console(error=True).print(safe(f"error: {detail}"), style="red", soft_wrap=True)


def command(commands: typer.Typer, name: str | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as a command. Its first parameter is the Call; the flags of every command are added."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def run(
            ctx: typer.Context,
            json: bool = False,  # the flag's name
            home: Path | None = None,
            workspace: str | None = None,
            **values: Any,
        ) -> None:
            with edge(Flags(json, home, workspace).over(ctx.obj)) as call:
                function(call, **values)

        shared: dict[str, Any] = {"json": JsonFlag, "home": HomeFlag, "workspace": WorkspaceFlag}
        hints = get_type_hints(function, include_extras=True)
        own = list(inspect.signature(function).parameters.values())[1:]
        keyword = inspect.Parameter.KEYWORD_ONLY
        parameters = [
            inspect.Parameter("ctx", keyword, annotation=typer.Context),
            *(one.replace(kind=keyword, annotation=hints[one.name]) for one in own),
            *(
                inspect.Parameter(flag, keyword, annotation=kind, default=False if flag == "json" else None)
                for flag, kind in shared.items()
            ),
        ]
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        commands.command(name)(run)
        return run

    return register


def group(about: str) -> typer.Typer:
    """A group of commands, which runs its command `list` (or else the first) where none is named."""
    made = typer.Typer(help=about, rich_markup_mode=None)

    def begin(
        ctx: typer.Context, json: JsonFlag = False, home: HomeFlag = None, workspace: WorkspaceFlag = None
    ) -> None:
        remember(ctx, json, home, workspace)
        if ctx.invoked_subcommand is None:
            run = {one.name: one.callback for one in made.registered_commands if one.callback is not None}
            ctx.invoke(run["list"] if "list" in run else next(iter(run.values())), ctx)

    made.callback(invoke_without_command=True)(begin)
    return made
