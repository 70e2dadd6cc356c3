"""The hub's endpoints. Each takes the request and the parts of its path, and returns status, body and headers."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote

from .repositories import Blob, Commit, Hub, Refusal, Repository, User, is_large

if TYPE_CHECKING:
    from .server import Handler

Answer = tuple[int, Any, dict[str, str]]
ROUTES: dict[str, list[tuple[str, str, Any]]] = {"hub": [], "cdn": []}

KIND = "(models|datasets|spaces)"
NAME = "([^/]+/[^/]+)"


def route(method: str, pattern: str, host: str = "hub") -> Any:
    def keep(function: Any) -> Any:
        ROUTES[host].append((method, pattern, function))
        return function

    return keep


def visitor(request: Handler) -> tuple[Hub, User | None]:
    state = request.server.hub.state
    return state, state.user(request.headers.get("Authorization"))


def found(request: Handler, kind: str, name: str, write: bool = False) -> Repository:
    """The repository asked for; a renamed one answers with the way to its new name."""
    state, user = visitor(request)
    if (kind, name) in state.moved:
        raise Refusal(307, None, "moved", location=request.path.replace(name, state.moved[kind, name], 1))
    return state.writable(kind, name, user) if write else state.readable(kind, name, user)


def payload(request: Handler) -> dict:
    return json.loads(request.body or b"{}")


def item(path: str, blob: Blob, large_key: str = "oid") -> dict:
    entry: dict[str, Any] = {"type": "file", "oid": blob.git_oid, "size": len(blob.data), "path": path}
    if blob.large:
        entry["lfs"] = {large_key: blob.sha256, "size": len(blob.data), "pointerSize": len(blob.pointer)}
    return entry


# --- who and what -----------------------------------------------------------------------------------------------------


@route("GET", "/api/whoami-v2")
def whoami(request: Handler) -> Answer:
    _, user = visitor(request)
    if user is None:
        raise Refusal(401, None, "Invalid credentials in Authorization header")
    organisations = [{"name": name} for name in user.organisations]
    token = {"accessToken": {"role": user.role, "displayName": "test"}}
    return 200, {"type": "user", "name": user.name, "orgs": organisations, "auth": token}, {}


@route("GET", "/api/agent-harnesses")
def harnesses(request: Handler) -> Answer:
    return 200, {"standardEnvVars": [], "harnesses": {}}, {}


@route("POST", "/api/validate-yaml")
def validate_yaml(request: Handler) -> Answer:
    content = payload(request)["content"]
    if content.startswith("---") and "\n---" not in content[3:]:
        return 400, {"errors": [{"message": "the front matter does not end"}], "warnings": []}, {}
    return 200, {"errors": [], "warnings": []}, {}


@route("POST", "/api/repos/create")
def create(request: Handler) -> Answer:
    state, user = visitor(request)
    asked = payload(request)
    namespace = asked.get("organization") or (user.name if user else "")
    state.may_write(namespace, user)
    kind, name = asked.get("type", "model") + "s", f"{namespace}/{asked['name']}"
    prefix = "" if kind == "models" else f"{kind}/"
    url = {"url": f"{request.server.hub.endpoint}/{prefix}{name}", "name": name}
    if (kind, name) in state.repositories:
        return 409, {**url, "error": "You already created this model repo"}, {}
    state.create(kind, name, bool(asked.get("private")) or asked.get("visibility") == "private")
    return 200, url, {}


@route("DELETE", "/api/repos/delete")
def delete(request: Handler) -> Answer:
    state, user = visitor(request)
    asked = payload(request)
    kind = asked.get("type", "model") + "s"
    name = f"{asked.get('organization') or (user.name if user else '')}/{asked['name']}"
    state.writable(kind, name, user)
    del state.repositories[kind, name]
    return 200, b"", {}


@route("POST", "/api/repos/move")
def move(request: Handler) -> Answer:
    state, user = visitor(request)
    asked = payload(request)
    kind = asked.get("type", "model") + "s"
    repository = state.writable(kind, asked["fromRepo"], user)
    del state.repositories[kind, asked["fromRepo"]]
    repository.name = asked["toRepo"]
    state.repositories[kind, asked["toRepo"]] = repository
    state.moved[kind, asked["fromRepo"]] = asked["toRepo"]
    return 200, b"", {}


@route("PUT", f"/api/{KIND}/{NAME}/settings")
def settings(request: Handler, kind: str, name: str) -> Answer:
    repository, asked = found(request, kind, name, write=True), payload(request)
    if "private" in asked or "visibility" in asked:
        repository.private = bool(asked.get("private")) or asked.get("visibility") == "private"
    if "gated" in asked:
        repository.gated = asked["gated"]
    return 200, {}, {}


# --- reading ----------------------------------------------------------------------------------------------------------


def describe(repository: Repository, commit: Commit, blobs: bool) -> dict:
    siblings: list[dict[str, Any]] = []
    for path, blob in sorted(commit.files.items()):
        sibling: dict[str, Any] = {"rfilename": path}
        if blobs:
            entry = item(path, blob, "sha256")
            sibling |= {"size": entry["size"], "blobId": entry["oid"]} | ({"lfs": entry["lfs"]} if blob.large else {})
        siblings.append(sibling)
    return {
        "id": repository.name, "modelId": repository.name, "sha": commit.oid, "private": repository.private,
        "gated": repository.gated, "tags": [], "siblings": siblings, "lastModified": commit.date,
        "createdAt": "2026-01-01T00:00:00.000Z", "downloads": 0, "likes": 0,
    }  # fmt: skip


@route("GET", f"/api/{KIND}/{NAME}")
def info(request: Handler, kind: str, name: str) -> Answer:
    repository = found(request, kind, name)
    return 200, describe(repository, repository.head, "blobs" in request.query), {}


@route("GET", f"/api/{KIND}/{NAME}/revision/([^/]+)")
def info_at(request: Handler, kind: str, name: str, revision: str) -> Answer:
    repository = found(request, kind, name)
    return 200, describe(repository, repository.at(revision), "blobs" in request.query), {}


@route("GET", f"/api/{KIND}")
def search(request: Handler, kind: str) -> Answer:
    state, user = visitor(request)
    author, text = request.query.get("author"), request.query.get("search", "")
    shown = [
        describe(repository, repository.head, False)
        for (of, name), repository in sorted(state.repositories.items())
        if of == kind and text in name and author in (None, repository.namespace)
        and (not repository.private or (user and user.owns(repository.namespace)))
    ]  # fmt: skip
    return page(request, shown)


def page(request: Handler, items: list) -> Answer:
    """A part of a list, and a link to the next part where there is one."""
    start, size = int(request.query.get("cursor", 0)), request.server.hub.page_size
    headers = {}
    if start + size < len(items):
        path = request.path.split("?")[0]
        headers["Link"] = f'<{request.server.hub.endpoint}{path}?cursor={start + size}&recursive=true>; rel="next"'
    return 200, items[start : start + size], headers


@route("GET", f"/api/{KIND}/{NAME}/tree/([^/]+)(?:/(.+))?")
def tree(request: Handler, kind: str, name: str, revision: str, folder: str) -> Answer:
    commit = found(request, kind, name).at(revision)
    prefix = unquote(folder).rstrip("/") + "/" if folder else ""
    inside = {path: blob for path, blob in commit.files.items() if path.startswith(prefix)}
    folders = sorted({prefix + p[len(prefix) :].split("/")[0] for p in inside if "/" in p[len(prefix) :]})
    recursive = request.query.get("recursive", "").lower() == "true"
    items: list[dict] = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": path} for path in folders]
    items += [item(path, blob) for path, blob in sorted(inside.items()) if recursive or "/" not in path[len(prefix) :]]
    return page(request, items)


@route("POST", f"/api/{KIND}/{NAME}/paths-info/([^/]+)")
def paths_info(request: Handler, kind: str, name: str, revision: str) -> Answer:
    commit = found(request, kind, name).at(revision)
    form = parse_qs(request.body.decode())
    return 200, [item(path, commit.files[path]) for path in form.get("paths", []) if path in commit.files], {}


@route("GET", f"/api/{KIND}/{NAME}/refs")
def refs(request: Handler, kind: str, name: str) -> Answer:
    repository = found(request, kind, name)

    def listed(names: dict[str, str], under: str) -> list[dict]:
        return [{"name": n, "ref": f"refs/{under}/{n}", "targetCommit": oid} for n, oid in sorted(names.items())]

    branches, tags = listed(repository.branches, "heads"), listed(repository.tags, "tags")
    return 200, {"branches": branches, "converts": [], "tags": tags, "pullRequests": []}, {}


@route("GET", f"/api/{KIND}/{NAME}/commits/([^/]+)")
def commits(request: Handler, kind: str, name: str, revision: str) -> Answer:
    history = found(request, kind, name).history(revision)
    author = [{"user": "alice"}]
    keep = [{"id": c.oid, "title": c.title, "message": "", "date": c.date, "authors": author} for c in history]
    return page(request, keep)


@route("GET", f"/api/{KIND}/{NAME}/auth-check(/write)?")
def auth_check(request: Handler, kind: str, name: str, write: str) -> Answer:
    state, user = visitor(request)
    state.contents(found(request, kind, name, write=bool(write)), user)
    return 200, {}, {}


# --- files ------------------------------------------------------------------------------------------------------------


@route("GET", f"/(?:(datasets|spaces)/)?{NAME}/resolve/([^/]+)/(.+)")
def resolve(request: Handler, kind: str, name: str, revision: str, path: str) -> Answer:
    """Where a file is: large ones on the CDN, small ones behind a redirect of the site itself."""
    state, user = visitor(request)
    kind = kind or "models"
    repository = found(request, kind, name)
    state.contents(repository, user)
    commit, blob = state.file(repository, revision, path)
    size = str(len(blob.data))
    headers = {"X-Repo-Commit": commit.oid, "X-Linked-Size": size, "X-Linked-ETag": f'"{blob.etag}"'}
    if blob.large:
        state.large_files[blob.sha256] = blob.data
        location = f"{request.server.hub.cdn_endpoint}/files/{blob.sha256}?name={quote(path, safe='')}&signature=x"
        return 302, b"", {**headers, "Location": location, "ETag": f'"{blob.etag}"'}
    location = f"/api/resolve-cache/{kind}/{name}/{commit.oid}/{quote(path, safe='')}"
    return 307, b"", {**headers, "Location": location}


@route("GET", f"/api/resolve-cache/{KIND}/{NAME}/([^/]+)/(.+)")
def resolve_cache(request: Handler, kind: str, name: str, revision: str, path: str) -> Answer:
    state, user = visitor(request)
    repository = found(request, kind, name)
    state.contents(repository, user)
    commit, blob = state.file(repository, revision, unquote(path))
    headers = {"X-Repo-Commit": commit.oid, "ETag": f'"{blob.etag}"', "Accept-Ranges": "bytes"}
    return 200, blob.data, {**headers, "Content-Type": "text/plain; charset=utf-8"}


@route("GET", "/files/([0-9a-f]{64})", host="cdn")
def large_file(request: Handler, sha256: str) -> Answer:
    data = request.server.hub.state.large_files.get(sha256)
    if data is None:
        raise Refusal(404, None, "NoSuchKey")
    return 200, data, {"ETag": '"of-the-cdn"', "Accept-Ranges": "bytes", "Content-Type": "application/octet-stream"}


# --- writing ----------------------------------------------------------------------------------------------------------


@route("POST", f"/api/{KIND}/{NAME}/preupload/([^/]+)")
def preupload(request: Handler, kind: str, name: str, revision: str) -> Answer:
    commit, answers = found(request, kind, name, write=True).at(revision), []
    for file in payload(request)["files"]:
        large = is_large(file["path"], file["size"], base64.b64decode(file.get("sample", "")))
        answer = {"path": file["path"], "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
        if file["path"] in commit.files:
            answer["oid"] = commit.files[file["path"]].etag
        answers.append(answer)
    return 200, {"files": answers}, {}


@route("POST", f"/(?:(datasets|spaces)/)?{NAME}\\.git/info/lfs/objects/batch")
def batch(request: Handler, kind: str, name: str) -> Answer:
    state, hub = request.server.hub.state, request.server.hub
    found(request, kind or "models", name, write=True)
    asked, objects, transfer = payload(request), [], "basic"
    for large in asked["objects"]:
        oid, size = large["oid"], large["size"]
        entry: dict[str, Any] = {"oid": oid, "size": size}
        if oid not in state.large_files:
            upload: dict[str, Any] = {"href": f"{hub.cdn_endpoint}/uploads/{oid}", "header": {}}
            if hub.large_chunk and size > hub.large_chunk:
                transfer, parts = "multipart", -(-size // hub.large_chunk)
                urls = {str(n): f"{hub.cdn_endpoint}/uploads/{oid}/{n}" for n in range(1, parts + 1)}
                upload["header"] = {"chunk_size": str(hub.large_chunk), **urls}
            verify = {"href": f"{hub.endpoint}/api/verify-upload", "header": {}}
            entry["actions"] = {"upload": upload, "verify": verify}
        objects.append(entry)
    return 200, {"transfer": transfer, "objects": objects}, {}


@route("PUT", "/uploads/([0-9a-f]{64})", host="cdn")
def upload(request: Handler, sha256: str) -> Answer:
    store_large(request, sha256, request.body)
    return 200, b"", {}


@route("PUT", "/uploads/([0-9a-f]{64})/([0-9]+)", host="cdn")
def upload_part(request: Handler, sha256: str, number: str) -> Answer:
    request.server.hub.state.parts[sha256, int(number)] = request.body
    return 200, b"", {"ETag": f'"part-{number}"'}


@route("POST", "/uploads/([0-9a-f]{64})", host="cdn")
def upload_complete(request: Handler, sha256: str) -> Answer:
    numbers = sorted(part["partNumber"] for part in payload(request)["parts"])
    store_large(request, sha256, b"".join(request.server.hub.state.parts.pop((sha256, n)) for n in numbers))
    return 200, {}, {}


def store_large(request: Handler, sha256: str, data: bytes) -> None:
    if Blob(data, True).sha256 != sha256:
        raise Refusal(400, None, "the bytes do not have the sha256 they were announced with")
    request.server.hub.state.large_files[sha256] = data


@route("POST", "/api/verify-upload")
def verify_upload(request: Handler) -> Answer:
    asked = payload(request)
    data = request.server.hub.state.large_files.get(asked["oid"])
    if data is None or len(data) != asked["size"]:
        raise Refusal(404, None, "no such object")
    return 200, {}, {}


@route("POST", f"/api/{KIND}/{NAME}/commit/([^/]+)")
def commit(request: Handler, kind: str, name: str, revision: str) -> Answer:
    state, hub = request.server.hub.state, request.server.hub
    repository = found(request, kind, name, write=True)
    changes: dict[str, Blob | None] = {}
    header: dict[str, Any] = {}
    for line in request.body.splitlines():
        entry = json.loads(line)
        value = entry["value"]
        if entry["key"] == "header":
            header = value
        elif entry["key"] == "file":
            changes[value["path"]] = Blob(base64.b64decode(value["content"]), False)
        elif entry["key"] == "lfsFile":
            if value["oid"] not in state.large_files:
                raise Refusal(400, None, f"the large file {value['oid']} was not uploaded")
            changes[value["path"]] = Blob(state.large_files[value["oid"]], True)
        else:
            changes[value["path"]] = None
    parent = header.get("parentCommit")
    if parent and parent != repository.at(revision).oid:
        raise Refusal(412, None, "The repository has been updated since the commit you were working on")
    made = repository.commit(changes, header.get("summary", ""), revision)
    return 200, {"success": True, "commitOid": made.oid, "commitUrl": f"{hub.endpoint}/{name}/commit/{made.oid}"}, {}


@route("POST", f"/api/{KIND}/{NAME}/tag/([^/]+)")
def tag(request: Handler, kind: str, name: str, revision: str) -> Answer:
    repository, wanted = found(request, kind, name, write=True), payload(request)["tag"]
    if wanted in repository.tags:
        raise Refusal(409, None, f"Tag {wanted} exists already")
    repository.tags[wanted] = repository.at(revision).oid
    return 200, {}, {}


@route("DELETE", f"/api/{KIND}/{NAME}/tag/([^/]+)")
def delete_tag(request: Handler, kind: str, name: str, wanted: str) -> Answer:
    repository = found(request, kind, name, write=True)
    if repository.tags.pop(wanted, None) is None:
        raise Refusal(404, "RevisionNotFound", f"no tag {wanted}")
    return 200, {}, {}


@route("POST", f"/api/{KIND}/{NAME}/branch/([^/]+)")
def branch(request: Handler, kind: str, name: str, wanted: str) -> Answer:
    repository = found(request, kind, name, write=True)
    if wanted in repository.branches:
        raise Refusal(409, None, f"Branch {wanted} exists already")
    repository.branches[wanted] = repository.at(payload(request).get("startingPoint", "main")).oid
    return 200, {}, {}


@route("DELETE", f"/api/{KIND}/{NAME}/branch/([^/]+)")
def delete_branch(request: Handler, kind: str, name: str, wanted: str) -> Answer:
    if found(request, kind, name, write=True).branches.pop(wanted, None) is None:
        raise Refusal(404, "RevisionNotFound", f"no branch {wanted}")
    return 200, {}, {}
