"""The dashboard's API section: create, list, limit, rotate and revoke API keys, and code samples."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from api.errors import ApiError
from api.http.dependencies import public_base_url
from api.memberships.models import Role
from api.services import Services
from ml.catalogue import tool_title
from web.dashboard import key_actions as actions
from web.dashboard import key_fields
from web.dashboard.components import add_text
from web.dashboard.events import CONCURRENCY, EVENT, format_time, http_request_of, place_of, visitor_of
from web.dashboard.key_actions import ShownKey
from web.rendering import pages
from web.site import code_samples

_LIVE, _TEST = "live", "test"
_ABOUT = (
    "A key is shown once, when it is created. Only a hash of it is stored. A test key is for trying out your"
    " program: its calls cost nothing, and their results are small and have a watermark."
)
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
    add_text(gr, _ABOUT)
    with gr.Row(equal_height=False):
        name = gr.Textbox(
            label="Name of the key", placeholder=actions.DEFAULT_NAME, max_lines=1, max_length=100, scale=2
        )
        kind = gr.Radio(
            [("Live key", _LIVE), ("Test key", _TEST)], value=_LIVE, label="Kind of key", min_width=220
        )
        create = gr.Button("Generate API Key", variant="primary", elem_id="make-key")
    with gr.Accordion("Limit what the key may do", open=False, elem_id="key-limits"):
        fields = key_fields.build(gr)
    new_key = gr.Textbox(
        label="Your new key. Copy it now: it is not shown again",
        buttons=["copy"],
        interactive=False,
        visible=False,
        elem_id="new-key",
    )

    async def generate(
        name_value: str,
        kind_value: str,
        tools: Sequence[str],
        last_day: str,
        limit: str,
        request: gr.Request,
    ) -> tuple[Any, ...]:
        user = visitor_of(request)
        is_test = kind_value == _TEST
        try:
            account_id = place_of(request, Role.MEMBER).account_id
            settings = key_fields.read(tools, last_day, "" if is_test else limit)
            plain = await actions.create(
                services, account_id, name_value, settings, is_test=is_test, member_id=user.member_id
            )
        except ApiError as error:
            raise gr.Error(error.message, print_exception=False) from error
        shown = gr.update(value=plain, visible=True)
        listed = await actions.listed(services, account_id, user.member_id)
        return shown, "", listed, *_code_samples(request, plain)

    async def list_keys(request: gr.Request) -> list[ShownKey]:
        user = visitor_of(request)
        if user.place.role is Role.VIEWER:
            return []
        return await actions.listed(services, user.place.account_id, user.member_id)

    def render_keys(keys: list[ShownKey]) -> None:
        if not keys:
            add_text(gr, "No keys yet.")
        for each in keys:
            _Row(gr, services, each, listed_keys, [new_key, *code_boxes]).build()

    def show_limit(kind_value: str) -> Any:
        return gr.update(visible=kind_value == _LIVE)

    gr.render(inputs=[listed_keys], triggers=[listed_keys.change], **CONCURRENCY)(render_keys)
    code_boxes = _build_code_samples(gr, page)
    kind.change(show_limit, kind, fields.limit, **EVENT, show_progress="hidden")
    create.click(generate, [name, kind, *fields.inputs], [new_key, name, listed_keys, *code_boxes], **EVENT)
    page.load(list_keys, None, [listed_keys], **EVENT)


class _Row:
    """One key of the list. `key_boxes` show a new key: on its own, and in the code samples."""

    def __init__(
        self, gr: Any, services: Services, shown: ShownKey, listed_keys: Any, key_boxes: list[Any]
    ) -> None:
        self._gr = gr
        self._services = services
        self._shown = shown
        self._id = shown.key.id
        self._listed_keys = listed_keys
        self._key_boxes = key_boxes

    def build(self) -> None:
        gr = self._gr
        is_replaced = self._shown.key.replaced_at is not None
        with gr.Column(elem_classes="key"):
            add_text(gr, _description(self._shown))
            if not self._shown.is_changeable:
                return
            with gr.Row():
                limits = None if is_replaced else gr.Button("Limits", size="sm", elem_classes="limit-key")
                rotate = gr.Button("Rotate", size="sm", elem_classes="rotate-key")
                revoke = gr.Button("Revoke", size="sm", variant="stop", elem_classes="revoke-key")
            if limits is not None:
                self._build_limits(limits)
            self._build_revocation(revoke)
        rotate.click(_event(gr, self._rotate), None, [self._listed_keys, *self._key_boxes], **EVENT)

    def _build_limits(self, button: Any) -> None:
        gr = self._gr
        with gr.Column(visible=False, elem_classes="key-settings") as panel:
            is_test = self._shown.key.is_test
            fields = key_fields.build(gr, self._shown.settings, has_limit=not is_test)
            with gr.Row():
                save = gr.Button("Save limits", size="sm", variant="primary", elem_classes="save-limits")
                cancel = gr.Button("Cancel", size="sm")
        button.click(lambda: gr.update(visible=True), None, panel, **EVENT)
        cancel.click(lambda: gr.update(visible=False), None, panel, **EVENT)
        save.click(_event(gr, self._change), fields.inputs, [self._listed_keys], **EVENT)

    def _build_revocation(self, button: Any) -> None:
        gr = self._gr
        with gr.Row(visible=False) as confirmation:
            add_text(gr, "The key stops working immediately and permanently, in every program that uses it.")
            confirm = gr.Button("Revoke this key", size="sm", variant="stop", elem_classes="confirm-revoke")
            cancel = gr.Button("Cancel", size="sm")
        button.click(lambda: gr.update(visible=True), None, confirmation, **EVENT)
        cancel.click(lambda: gr.update(visible=False), None, confirmation, **EVENT)
        confirm.click(_event(gr, self._revoke), None, [self._listed_keys], **EVENT)

    async def _change(self, request: Any, account_id: str, *sent: Any) -> list[ShownKey]:
        member_id = visitor_of(request).member_id
        await actions.change(self._services, account_id, self._id, key_fields.read(*sent), member_id)
        return await actions.listed(self._services, account_id, member_id)

    async def _revoke(self, request: Any, account_id: str) -> list[ShownKey]:
        member_id = visitor_of(request).member_id
        await actions.revoke(self._services, account_id, self._id, member_id)
        return await actions.listed(self._services, account_id, member_id)

    async def _rotate(self, request: Any, account_id: str) -> tuple[Any, ...]:
        member_id = visitor_of(request).member_id
        plain = await actions.rotate(self._services, account_id, self._id, member_id)
        listed = await actions.listed(self._services, account_id, member_id)
        return listed, self._gr.update(value=plain, visible=True), *_code_samples(request, plain)


def _event(gr: Any, act: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """`act` with the request, the visitor's account and the values. Its refusals are shown to the visitor."""

    async def run(request: gr.Request, *sent: Any) -> Any:
        try:
            return await act(request, place_of(request, Role.MEMBER).account_id, *sent)
        except ApiError as error:
            raise gr.Error(error.message, print_exception=False) from error

    return run


def _description(shown: ShownKey) -> str:
    """Some lines about the key, as HTML."""
    key, tools, budget = shown.key, shown.settings.tools, shown.budget
    return pages.fragment(
        "dashboard/key.html",
        key=key,
        maker=shown.maker,
        created=format_time(key.created_at),
        used=None if key.last_used_at is None else format_time(key.last_used_at),
        ends=format_time(key.expires_at) if key.replaced_at and key.expires_at else None,
        last_day=key_fields.shown_day(shown.settings.expires_at),
        tools=None if tools is None else ", ".join(tool_title(name) for name in sorted(tools)),
        budget=budget,
        renews=None if budget is None else format_time(budget.renews_at),
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
