"""The dashboard's API section: create, list, rotate and revoke API keys, and code samples."""

from typing import Any

from sqlmodel import Session

from api.auth import api_keys
from api.auth.models import ApiKey
from api.errors import InvalidApiKey, InvalidParameter, NotFound
from api.http.dependencies import public_base_url
from api.services import Services
from web.dashboard.components import add_text
from web.dashboard.events import CONCURRENCY, EVENT, format_time, http_request_of, visitor_of
from web.rendering import pages
from web.site import code_samples

_DEFAULT_NAME = "my key"
_GRACE_HOURS = 24
#: Gradio runs this as a function of `element`, once. Plain http has no clipboard API but on this machine.
_COPY = """
element.addEventListener("click", async (event) => {
  const button = event.target.closest(".copy");
  if (!button) return;
  const code = button.parentElement.querySelector("code");
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch {
    getSelection().selectAllChildren(code);
    document.execCommand("copy");
  }
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = "Copy"), 2000);
});
"""


def build(gr: Any, services: Services, page: Any) -> None:
    """Add the section. `gr` is the gradio module, `page` the Blocks whose load event fills the section."""
    listed_keys: Any = gr.State([])  # a change of it renders the list again
    add_text(gr, "A key is shown once, when it is created. Only a hash of it is stored.")
    with gr.Row(equal_height=False):
        name = gr.Textbox(label="Name of the key", placeholder=_DEFAULT_NAME, max_lines=1, max_length=100)
        create = gr.Button("Generate API Key", variant="primary", elem_id="make-key")
    new_key = gr.Textbox(
        label="Your new key. Copy it now: it is not shown again",
        buttons=["copy"],
        interactive=False,
        visible=False,
        elem_id="new-key",
    )

    async def generate(name_value: str, request: gr.Request) -> tuple[Any, ...]:
        account_id = visitor_of(request).account_id
        try:
            plain = await _create(services, account_id, name_value)
        except InvalidParameter as error:
            raise gr.Error(error.message) from error
        shown = gr.update(value=plain, visible=True)
        return shown, "", await _list_keys(services, account_id), *_code_samples(request, plain)

    async def list_keys(request: gr.Request) -> list[ApiKey]:
        return await _list_keys(services, visitor_of(request).account_id)

    def render_keys(keys: list[ApiKey]) -> None:
        if not keys:
            add_text(gr, "No keys yet.")
        for key in keys:
            _build_row(gr, services, key, listed_keys, [new_key, *code_boxes])

    gr.render(inputs=[listed_keys], triggers=[listed_keys.change], **CONCURRENCY)(render_keys)
    code_boxes = _build_code_samples(gr, page)
    create.click(generate, [name], [new_key, name, listed_keys, *code_boxes], **EVENT)
    page.load(list_keys, None, [listed_keys], **EVENT)


async def _create(services: Services, account_id: str, name: str) -> str:
    now = services.clock()

    def work(session: Session) -> str:
        return api_keys.create(session, account_id, name.strip() or _DEFAULT_NAME, now)[1]

    return await services.database.run(work)


async def _list_keys(services: Services, account_id: str) -> list[ApiKey]:
    def read_keys(session: Session) -> list[ApiKey]:
        keys = api_keys.usable(session, account_id, services.clock())
        session.expunge_all()
        return keys

    return await services.database.read(read_keys)


def _build_row(gr: Any, services: Services, key: ApiKey, listed_keys: Any, key_boxes: list[Any]) -> None:
    """`key_boxes` show a new key: on its own, and in the code samples."""
    key_id = key.id
    with gr.Column(elem_classes="key"):
        add_text(gr, _description(key))
        with gr.Row():
            rotate = gr.Button("Rotate", size="sm", elem_classes="rotate-key")
            revoke = gr.Button("Revoke", size="sm", variant="stop", elem_classes="revoke-key")
        with gr.Row(visible=False) as confirmation:
            add_text(gr, "The key stops working immediately and permanently, in every program that uses it.")
            confirm = gr.Button("Revoke this key", size="sm", variant="stop", elem_classes="confirm-revoke")
            cancel = gr.Button("Cancel", size="sm")

    async def revoke_key(request: gr.Request) -> list[ApiKey]:
        account_id = visitor_of(request).account_id
        await services.database.run(
            lambda session: api_keys.revoke(session, account_id, key_id, services.clock()) and None
        )
        return await _list_keys(services, account_id)

    async def rotate_key(request: gr.Request) -> tuple[Any, ...]:
        account_id = visitor_of(request).account_id
        grace_seconds = _GRACE_HOURS * 3600
        try:
            plain = await services.database.run(
                lambda session: api_keys.rotate(
                    session, account_id, key_id, grace_seconds=grace_seconds, now=services.clock()
                )[1]
            )
        except (InvalidApiKey, InvalidParameter, NotFound) as error:
            raise gr.Error(error.message) from error
        listed = await _list_keys(services, account_id)
        return listed, gr.update(value=plain, visible=True), *_code_samples(request, plain)

    revoke.click(lambda: gr.update(visible=True), None, confirmation, **EVENT)
    cancel.click(lambda: gr.update(visible=False), None, confirmation, **EVENT)
    confirm.click(revoke_key, None, [listed_keys], **EVENT)
    rotate.click(rotate_key, None, [listed_keys, *key_boxes], **EVENT)


def _description(key: ApiKey) -> str:
    """One line about the key, as HTML."""
    used = "never used" if key.last_used_at is None else f"last used {format_time(key.last_used_at)} UTC"
    ends = format_time(key.expires_at) if key.expires_at else None
    return pages.fragment(
        "dashboard/key.html", key=key, created=format_time(key.created_at), used=used, ends=ends
    )


def _build_code_samples(gr: Any, page: Any) -> list[Any]:
    """Add the code samples. Returns the components that show them, one for each language."""
    add_text(gr, "<h3>Use the API</h3>")
    boxes = []
    with gr.Tabs():
        for language in code_samples.LANGUAGES:
            with gr.Tab(language):
                boxes.append(
                    gr.HTML(
                        apply_default_css=False, padding=False, js_on_load=_COPY, elem_classes="code-sample"
                    )
                )

    def fill(request: gr.Request) -> list[str]:
        return _code_samples(request)

    page.load(fill, None, boxes, **EVENT)
    return boxes


def _code_samples(request: Any, key: str | None = None) -> list[str]:
    """The code samples as HTML, with a new key if there is one. The server keeps no copy of it."""
    samples = code_samples.for_server(public_base_url(http_request_of(request)), key=key)
    return [
        pages.fragment("dashboard/code.html", code=sample.code, has_key=key is not None) for sample in samples
    ]
