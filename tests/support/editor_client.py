"""A browser's part in the editor without a browser: cookie, token, and the requests that its scripts send."""

import secrets
from typing import Any

import httpx

from api.auth import sessions
from billing.timestamps import utc_now
from tests.support.server import Customer, RunningServer

SECONDS = 120


class Browser:
    """One visitor: a member with `customer`, else a guest."""

    def __init__(self, server: RunningServer, customer: Customer | None = None) -> None:
        self.client = server.client()
        if customer is not None:
            with server.database.transaction() as session:
                made = sessions.create(session, customer.account_id, now=utc_now())
            self.client.cookies.set("bgeraser_session", made.token)
        answer = self.client.get("/editor/session")
        self.session: dict[str, Any] = answer.json()["data"]
        self.client.headers["X-CSRF-Token"] = self.session["csrfToken"]

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def open(self, content: bytes, name: str = "photo.jpg") -> dict[str, Any]:
        answer = self.client.post("/editor/projects", params={"name": name}, files={"image": content})
        assert answer.status_code == 200, answer.text
        project: dict[str, Any] = answer.json()["data"]
        return project

    def open_sample(self, name: str = "coffee") -> dict[str, Any]:
        answer = self.client.post("/editor/projects", json={"sample": name})
        assert answer.status_code == 200, answer.text
        project: dict[str, Any] = answer.json()["data"]
        return project

    def project(self, project_id: str) -> dict[str, Any]:
        project: dict[str, Any] = self.client.get(f"/editor/projects/{project_id}").json()["data"]
        return project

    def start(
        self,
        project: dict[str, Any],
        tool: str,
        params: dict[str, str],
        *,
        step_id: str | None = None,
        key: str | None = None,
        **more: Any,
    ) -> httpx.Response:
        body = {"tool": tool, "params": params, "stepId": step_id or project["currentStepId"], **more}
        headers = {"Idempotency-Key": key or secrets.token_hex(8)}
        return self.client.post(f"/editor/projects/{project['id']}/runs", json=body, headers=headers)

    def watch(self, project: dict[str, Any], run: dict[str, Any]) -> dict[str, Any]:
        """The run when it has ended."""
        place = f"/editor/projects/{project['id']}/runs/{run['id']}"
        while run["status"] in ("queued", "running"):
            run = self.client.get(place, params={"seen": run["version"]}).json()["data"]
        if run["status"] == "done":
            run = self.client.get(place).json()["data"]
        return run

    def run(self, project: dict[str, Any], tool: str, params: dict[str, str], **more: Any) -> dict[str, Any]:
        """The step that the tool made."""
        answer = self.start(project, tool, params, **more)
        assert answer.status_code == 200, answer.text
        ended = self.watch(project, answer.json()["data"])
        assert ended["status"] == "done", ended
        step: dict[str, Any] = ended["step"]
        return step

    def add_look(
        self, project: dict[str, Any], step: dict[str, Any], params: dict[str, str]
    ) -> httpx.Response:
        body = {"stepId": step["id"], "params": params}
        return self.client.post(f"/editor/projects/{project['id']}/looks", json=body)

    def look(self, project: dict[str, Any], step: dict[str, Any], params: dict[str, str]) -> dict[str, Any]:
        """The step of another look of the step's cut-out."""
        answer = self.add_look(project, step, params)
        assert answer.status_code == 200, answer.text
        made: dict[str, Any] = answer.json()["data"]["step"]
        return made

    def download(self, project: dict[str, Any], step: dict[str, Any], **options: Any) -> httpx.Response:
        return self.client.get(f"/editor/projects/{project['id']}/steps/{step['id']}/file", params=options)
