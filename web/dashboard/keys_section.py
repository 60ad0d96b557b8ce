"""The dashboard's API section: making, listing, rotating and revoking keys."""

from typing import Any

from sqlmodel import Session

from api.auth import api_keys
from api.db.models import ApiKey
from api.errors import InvalidApiKey, InvalidParameter, NotFound
from api.services import Services
from web.dashboard.access import CONCURRENCY, EVENT, owner_of, shown_time
from web.site import code_samples

_DEFAULT_NAME = "my key"
_GRACE_HOURS = 24


def build(gr: Any, services: Services, page: Any) -> None:
    """Adds the section. `gr` is the gradio module; `page`: the Blocks whose load event fills it."""
    shown: Any = gr.State([])  # the keys as listed; every change of it draws the list again
    gr.Markdown("A key is shown once, when it is made. Only a hash of it is stored.")
    with gr.Row(equal_height=False):
        name = gr.Textbox(label="Name of the key", placeholder=_DEFAULT_NAME, max_lines=1, max_length=100)
        make = gr.Button("Generate API Key", variant="primary", elem_id="make-key")
    fresh = gr.Textbox(
        label="Your new key: copy it now, it is never shown again",
        buttons=["copy"],
        interactive=False,
        visible=False,
        elem_id="new-key",
    )

    async def generate(typed: str, request: gr.Request) -> tuple[Any, str, list[ApiKey]]:
        account_id = owner_of(services, request).account_id
        try:
            plain = await _create(services, account_id, typed)
        except InvalidParameter as error:
            raise gr.Error(error.message) from error
        return gr.update(value=plain, visible=True), "", await _listed(services, account_id)

    async def listed(request: gr.Request) -> list[ApiKey]:
        return await _listed(services, owner_of(services, request).account_id)

    make.click(generate, [name], [fresh, name, shown], **EVENT)
    page.load(listed, None, [shown], **EVENT)

    def draw(found: list[ApiKey]) -> None:
        if not found:
            gr.Markdown("No keys yet.")
        for key in found:
            _row(gr, services, key, shown, fresh)

    gr.render(inputs=[shown], triggers=[shown.change], **CONCURRENCY)(draw)
    _examples(gr, services, page)


async def _create(services: Services, account_id: str, typed: str) -> str:
    now = services.clock()

    def work(session: Session) -> str:
        return api_keys.create(session, account_id, typed.strip() or _DEFAULT_NAME, now)[1]

    return await services.database.run(work)


async def _listed(services: Services, account_id: str) -> list[ApiKey]:
    def look(session: Session) -> list[ApiKey]:
        found = api_keys.usable(session, account_id, services.clock())
        session.expunge_all()
        return found

    return await services.database.read(look)


def _row(gr: Any, services: Services, key: ApiKey, shown: Any, fresh: Any) -> None:
    key_id = key.id
    with gr.Column(elem_classes="key"):
        gr.Markdown(_words(key))
        with gr.Row():
            rotate = gr.Button("Rotate", size="sm", elem_classes="rotate-key")
            revoke = gr.Button("Revoke", size="sm", variant="stop", elem_classes="revoke-key")
        with gr.Row(visible=False) as question:
            gr.Markdown("Revoked at once and for good; programs that use it stop working.")
            sure = gr.Button("Yes, revoke it", size="sm", variant="stop", elem_classes="confirm-revoke")
            keep = gr.Button("Keep it", size="sm")

    async def do_revoke(request: gr.Request) -> list[ApiKey]:
        account_id = owner_of(services, request).account_id
        await services.database.run(
            lambda session: api_keys.revoke(session, account_id, key_id, services.clock()) and None
        )
        return await _listed(services, account_id)

    async def do_rotate(request: gr.Request) -> tuple[Any, list[ApiKey]]:
        account_id = owner_of(services, request).account_id
        grace_seconds = _GRACE_HOURS * 3600
        try:
            plain = await services.database.run(
                lambda session: api_keys.rotate(
                    session, account_id, key_id, grace_seconds=grace_seconds, now=services.clock()
                )[1]
            )
        except (InvalidApiKey, InvalidParameter, NotFound) as error:
            raise gr.Error(error.message) from error
        return gr.update(value=plain, visible=True), await _listed(services, account_id)

    revoke.click(lambda: gr.update(visible=True), None, question, **EVENT)
    keep.click(lambda: gr.update(visible=False), None, question, **EVENT)
    sure.click(do_revoke, None, [shown], **EVENT)
    rotate.click(do_rotate, None, [fresh, shown], **EVENT)


def _words(key: ApiKey) -> str:
    """One line about the key. Its name is the owner's own, yet no markup of it is followed."""
    name = "".join(f"\\{sign}" if sign in "\\`*_{}[]()<>#+-.!|&" else sign for sign in key.name)
    used = "never used" if key.last_used_at is None else f"last used {shown_time(key.last_used_at)} UTC"
    ends = f", ends {shown_time(key.expires_at)} UTC" if key.expires_at else ""
    made = f"made {shown_time(key.created_at)} UTC"
    return f"**{name}** `{key.first_characters}…` {made}, {used}{ends}"


def _examples(gr: Any, services: Services, page: Any) -> None:
    gr.Markdown("### Use the API")
    snippets = []
    with gr.Tabs():
        for language in code_samples.LANGUAGES:
            with gr.Tab(language):
                # Plain text: the highlighter's colours are too faint to read on a light page.
                snippets.append(gr.Code(interactive=False, show_label=False, lines=4, wrap_lines=True))

    def fill(request: gr.Request) -> list[str]:
        owner = owner_of(services, request)
        return [example.code for example in code_samples.of(owner.address)]

    page.load(fill, None, snippets, **EVENT)
