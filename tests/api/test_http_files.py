"""Sources and uploads over HTTP: from bytes on the wire to an answer that cites them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from http_site import Site, served, site_at

from api import schemas
from api.app import create_app
from api.uploads import LONGEST_NAME, Upload, UploadFolder, safe_name
from kernel.errors import InvalidInput

QUESTION = "How tall is the lighthouse of Skagen?"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Site]:
    with site_at(tmp_path_factory.mktemp("files"), models) as made:
        yield made


def page(metres: int) -> bytes:
    return f"# Skagen\n\nThe lighthouse of Skagen is {metres} metres tall and was built in 1858.\n".encode()


def send(site: Site, *files: tuple[str, bytes], source: str | None = None, **more: Any) -> httpx.Response:
    parts = [("files", (name, data)) for name, data in files]
    return site.admin.post("/v1/documents", files=parts, params={"source": source} if source else {}, **more)


def answer(site: Site) -> dict[str, Any]:
    return site.app_key.post("/v1/query", json={"question": QUESTION}).raise_for_status().json()


def documents(site: Site, source: str) -> dict[str, dict[str, Any]]:
    found = site.walk(site.admin, "/v1/documents", 200)
    return {document["path"]: document for document in found if document["source"] == source}


def test_an_upload_becomes_an_answer_is_replaced_and_is_removed(site: Site) -> None:
    accepted = send(site, ("skagen.md", page(46)), ("other.txt", b"Nothing of note."))
    job = site.job(accepted)
    schemas.Job.model_validate(job, strict=True)
    assert (job["state"], job["result"]["added"], job["result"]["source"]) == ("done", 2, "uploads")
    first = answer(site)
    assert "46 metres" in first["answer"]
    lineage = site.app_key.get(f"/v1/answers/{first['id']}/lineage").json()
    assert "uploads" in [item["source"] for item in lineage["context"] if item["quotes"]]
    turtle = site.app_key.get(f"/v1/answers/{first['id']}/lineage", headers={"Accept": "text/turtle"})
    assert first["citations"][0]["document_id"] in turtle.text

    result = site.job(send(site, ("skagen.md", page(47))))["result"]
    assert (result["changed"], result["failures"]) == (1, [])
    assert "47 metres" in answer(site)["answer"]
    skagen = documents(site, "uploads")["skagen.md"]
    assert skagen["revision"] == 2

    removed = site.job(site.admin.delete(f"/v1/documents/{skagen['id']}"))
    assert removed["result"]["removed"] == 1
    assert documents(site, "uploads").keys() == {"other.txt"}
    assert "metres" not in answer(site)["answer"]
    assert site.app_key.get(f"/v1/answers/{first['id']}").json()["answer"] == first["answer"]
    assert site.admin.delete(f"/v1/documents/{skagen['id']}").status_code == 404


def test_the_same_upload_twice_is_accepted_once(site: Site) -> None:
    headers = {"Idempotency-Key": "upload"}
    first = send(site, ("one.md", page(1)), source="twice", headers=headers)
    again = send(site, ("one.md", page(1)), source="twice", headers=headers)
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert send(site, ("one.md", page(2)), source="twice", headers=headers).status_code == 409
    site.job(first)


def test_what_cannot_be_kept_is_refused_whole(site: Site) -> None:
    refused = [
        send(site, ("good.md", page(1)), ("program.exe", b"MZ"), source="refused"),
        send(site, ("a/same.md", page(1)), ("b/same.md", page(2)), source="refused"),
        send(site, ("good.md", page(1)), source="../escape"),
        send(site, ("good.md", page(1)), source=".hidden"),
    ]
    for response in refused:
        assert response.status_code == 422
        assert response.headers["content-type"] == "application/problem+json"
    assert "refused" not in [source["name"] for source in site.walk(site.admin, "/v1/sources", 50)]
    assert not (site.workspace.settings.workspace_folder / "uploads" / "refused").exists()


def test_files_stay_in_their_folder_whatever_they_are_called(site: Site) -> None:
    root = site.workspace.settings.workspace_folder
    before = {path for path in root.rglob("*.md") if "uploads" not in path.parts}
    site.job(send(site, ("../../evil.md", page(9)), ("..\\..\\worse.md", page(8)), source="safe"))
    assert documents(site, "safe").keys() == {"evil.md", "worse.md"}
    assert {path for path in root.rglob("*.md") if "uploads" not in path.parts} == before


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("plain.md", "plain.md"),
        ("/etc/x/../notes.txt", "notes.txt"),
        ("C:\\Users\\me\\plan.docx", "plan.docx"),
        ("..hidden.md", "hidden.md"),
        ("line\nbreak\u202e.md", "line_break_.md"),
        ("records.jsonl#42.md", "records.jsonl_42.md"),
        ("Cafe\u0301.md", "Caf\u00e9.md"),
        ("METADATA", "METADATA"),
        ("UPPER.PDF", "UPPER.PDF"),
    ],
)
def test_names_are_made_safe(name: str, safe: str) -> None:
    assert safe_name(name) == safe


@pytest.mark.parametrize("name", ["", ".", "..", "/", "a/", ".md", "noextension", "x.exe", "\u200b"])
def test_names_of_nothing_readable_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        safe_name(name)


def test_long_names_keep_their_kind() -> None:
    made = safe_name("ä" * 500 + ".md")
    assert made.endswith(".md")
    assert len(made.encode()) <= LONGEST_NAME


def test_an_upload_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    class Broken(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError("the disk is gone")

    folder = UploadFolder(tmp_path / "uploads")
    files = [Upload("a.md", "", io.BytesIO(b"a")), Upload("b.md", "", Broken())]
    with pytest.raises(OSError, match="gone"):
        folder.keep("s", files)
    assert list((tmp_path / "uploads" / "s").iterdir()) == []


def test_a_source_is_registered_synced_and_listed(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "notes, and more"
    folder.mkdir()
    (folder / "a.md").write_text("# A\n\nThe first note.")
    made = site.admin.post("/v1/sources", json={"path": str(folder)})
    assert site.job(made)["result"]["added"] == 1
    (source,) = [s for s in site.walk(site.admin, "/v1/sources", 50) if s["name"] == str(folder)]
    assert source["documents"] == 1
    (folder / "a.md").unlink()
    (folder / "b.md").write_text("# B\n\nThe second note.")
    result = site.job(site.admin.post(f"/v1/sources/{folder}/sync"))["result"]
    assert (result["added"], result["removed"]) == (1, 1)
    folder.rename(tmp_path / "elsewhere")
    gone = site.admin.post(f"/v1/sources/{folder}/sync")
    assert gone.status_code == 409
    assert documents(site, str(folder)).keys() == {"b.md"}


def test_uploads_and_folders_do_not_take_each_others_sources(site: Site, tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# A\n\nA note.")
    site.job(send(site, ("mine.md", page(3)), source="mixed"))
    assert site.admin.post("/v1/sources", json={"path": str(tmp_path), "name": "mixed"}).status_code == 409
    assert send(site, ("mine.md", page(3)), source="handbook").status_code == 409
    orion = documents(site, "handbook")["orion.md"]
    assert site.admin.delete(f"/v1/documents/{orion['id']}").status_code == 409
    assert (site.handbook / "orion.md").exists()


def test_a_file_that_cannot_be_read_is_listed_as_failed_for_those_who_see_everything(site: Site) -> None:
    job = site.job(send(site, ("broken.docx", b"PK\x03\x04 not a document"), source="broken"))
    assert (job["state"], job["result"]["failed"]) == ("done", 1)
    (failed,) = site.admin.get("/v1/documents?status=failed").json()["items"]
    schemas.Document.model_validate(failed, strict=True)
    assert (failed["path"], failed["status"]) == ("broken.docx", "failed")
    assert failed["reason"]
    assert site.app_key.get("/v1/documents?status=failed").json()["items"] == []
    assert site.app_key.get(f"/v1/documents/{failed['id']}").status_code == 404
    assert "broken.docx" not in site.app_key.get("/v1/documents?limit=200").text


def test_jobs_are_listed_newest_first(site: Site) -> None:
    jobs = site.walk(site.admin, "/v1/jobs", 2)
    assert [job["id"] for job in jobs] == sorted((job["id"] for job in jobs), reverse=True)
    for job in jobs:
        schemas.Job.model_validate(job, strict=True)


def test_uploads_outlive_a_move_of_the_workspace(tmp_path: Path) -> None:
    old, new = UploadFolder(tmp_path / "old" / "uploads"), UploadFolder(tmp_path / "new" / "uploads")
    kept = old.keep("s", [Upload("a.md", "", io.BytesIO(b"a"))])
    assert not new.holds("s", str(kept))
    (tmp_path / "old").rename(tmp_path / "new")
    assert new.holds("s", str(kept))
    assert not new.holds("t", str(kept))


def test_bodies_over_the_cap_are_refused_while_they_are_read(tmp_path: Path, models: Path) -> None:
    with site_at(tmp_path / "capped", models, max_body_mb=1) as site:
        large = b'{"question": "' + b"x" * 1_200_000 + b'"}'

        def chunks() -> Iterator[bytes]:
            for start in range(0, len(large), 50_000):
                yield large[start : start + 50_000]

        headers = {"Content-Type": "application/json"}
        for body in (large, chunks()):
            response = site.app_key.post("/v1/query", content=body, headers=headers)
            assert response.status_code == 413
            assert response.json()["type"] == "urn:vouch:problem:too-large"
        assert send(site, ("large.md", b"x" * 1_200_000)).status_code == 413
        assert not (site.workspace.settings.workspace_folder / "uploads").exists()
        assert site.app_key.post("/v1/query", json={"question": QUESTION}).status_code == 200


def test_two_servers_after_each_other_serve_the_same_workspace(site: Site) -> None:
    site.job(send(site, ("again.md", page(12)), source="restart"))
    headers = site.admin.headers
    with (
        served(create_app(site.workspace)) as url,
        httpx.Client(base_url=url, headers=headers, trust_env=False) as client,
    ):
        assert client.get("/v1/documents?source=restart").json()["items"][0]["path"] == "again.md"
