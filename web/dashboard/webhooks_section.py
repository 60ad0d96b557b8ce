"""The dashboard's webhook section: add, list, test, rotate, disable and delete webhooks, and send again."""

from collections.abc import Awaitable, Callable
from typing import Any

from api.errors import ApiError
from api.memberships.models import Role
from api.services import Services
from web.dashboard import webhook_actions as actions
from web.dashboard.components import add_text
from web.dashboard.events import CONCURRENCY, EVENT, place_of
from web.dashboard.webhook_actions import SUBSCRIPTIONS, ShownWebhook
from web.rendering import pages

_URL_LENGTH_MAX = 1000
_ABOUT = (
    "Webhooks receive the ends of jobs and batches, low or exhausted credits, failed payments, keys that are"
    " about to end and sign-ins from new browsers. Messages are signed by"
    ' <a href="https://www.standardwebhooks.com">Standard Webhooks</a>, and tried for three days.'
)


def build(gr: Any, services: Services, page: Any) -> None:
    """Add the section. `gr` is the gradio module, `page` the Blocks whose load event fills the section."""
    shown: Any = gr.State([])  # a change of it renders the list again
    add_text(gr, _ABOUT)
    with gr.Row(equal_height=False):
        url = gr.Textbox(
            label="URL of the webhook",
            placeholder="https://shop.example.com/hooks",
            max_lines=1,
            max_length=_URL_LENGTH_MAX,
            min_width=240,
            scale=2,
        )
        events = gr.Dropdown(
            list(SUBSCRIPTIONS), value="All events", label="Events", filterable=False, min_width=180
        )
        create = gr.Button("Add webhook", variant="primary", elem_id="add-webhook")
    secret = gr.Textbox(
        label="The webhook's secret. Copy it now: it is not shown again",
        buttons=["copy"],
        interactive=False,
        visible=False,
        elem_id="webhook-secret",
    )

    async def add(account_id: str, url_value: str, subscription: str) -> tuple[Any, ...]:
        made = await actions.create(services, account_id, url_value.strip(), subscription)
        return gr.update(value=made, visible=True), "", await actions.listed(services, account_id)

    async def read(request: gr.Request) -> list[ShownWebhook]:
        place = place_of(request)
        return [] if place.role is not Role.OWNER else await actions.listed(services, place.account_id)

    def render(listed: list[ShownWebhook]) -> None:
        if not listed:
            add_text(gr, "No webhooks yet.")
        for each in listed:
            _Row(gr, services, each, shown, secret).build()

    gr.render(inputs=[shown], triggers=[shown.change], **CONCURRENCY)(render)
    create.click(_event(gr, add), [url, events], [secret, url, shown], **EVENT)
    page.load(read, None, [shown], **EVENT)


class _Row:
    """One webhook of the list, and the log of its deliveries."""

    def __init__(self, gr: Any, services: Services, row: ShownWebhook, shown: Any, secret: Any) -> None:
        self._gr = gr
        self._services = services
        self._row = row
        self._shown = shown
        self._secret = secret

    def build(self) -> None:
        gr, row = self._gr, self._row
        with gr.Column(elem_classes="webhook"):
            add_text(
                gr,
                pages.fragment(
                    "dashboard/webhook.html", webhook=row.webhook, is_named=not row.is_for_callbacks
                ),
            )
            with gr.Row(elem_classes="webhook-actions"):
                self._button("Close log" if row.log is not None else "Deliveries", self._toggle_log)
                if row.webhook["enabled"] and not row.is_for_callbacks:
                    self._button("Send test", self._test)
                rotate = gr.Button("Rotate secret", size="sm")
                if not row.is_for_callbacks:
                    enabled = row.webhook["enabled"]
                    self._button(
                        "Disable" if enabled else "Enable", self._disable if enabled else self._enable
                    )
                    delete = gr.Button("Delete", size="sm", variant="stop", elem_classes="delete-webhook")
            if not row.is_for_callbacks:
                self._build_deletion(delete)
            if row.log is not None:
                self._build_log(row.log)

        rotate.click(_event(gr, self._rotate), None, [self._secret, self._shown], **EVENT)

    def _button(self, label: str, act: Callable[[str], Awaitable[str | None]], **options: Any) -> None:
        """A button that runs `act` with the account's id. It returns the webhook whose log is open then."""

        async def run(account_id: str) -> list[ShownWebhook]:
            opened = await act(account_id)
            return await actions.listed(self._services, account_id, opened)

        button = self._gr.Button(label, size="sm", **options)
        button.click(_event(self._gr, run), None, [self._shown], **EVENT)

    def _build_deletion(self, delete: Any) -> None:
        gr = self._gr
        with gr.Row(visible=False, elem_classes="confirmation") as confirmation:
            add_text(gr, "Nothing more is sent to it, and its log is deleted.")
            self._button("Delete this webhook", self._delete, variant="stop", elem_classes="confirm-delete")
            cancel = gr.Button("Cancel", size="sm")
        delete.click(lambda: gr.update(visible=True), None, confirmation, **EVENT)
        cancel.click(lambda: gr.update(visible=False), None, confirmation, **EVENT)

    def _build_log(self, log: list[dict[str, Any]]) -> None:
        if not log:
            add_text(self._gr, "Nothing was sent to it yet.")
        for delivery in log:
            with self._gr.Row(elem_classes="delivery"):
                add_text(self._gr, pages.fragment("dashboard/delivery.html", delivery=delivery))
                if self._row.webhook["enabled"]:
                    self._button("Send again", self._redelivery(delivery["deliveryId"]))

    async def _rotate(self, account_id: str) -> tuple[Any, ...]:
        made = await actions.rotate(self._services, account_id, self._row.id)
        opened = self._row.id if self._row.log is not None else None
        shown = await actions.listed(self._services, account_id, opened)
        return self._gr.update(value=made, visible=True), shown

    async def _toggle_log(self, _account_id: str) -> str | None:
        return self._row.id if self._row.log is None else None

    async def _test(self, account_id: str) -> str:
        await actions.send_test(self._services, account_id, self._row.id)
        return self._row.id

    async def _enable(self, account_id: str) -> None:
        await actions.set_enabled(self._services, account_id, self._row.id, enabled=True)

    async def _disable(self, account_id: str) -> None:
        await actions.set_enabled(self._services, account_id, self._row.id, enabled=False)

    async def _delete(self, account_id: str) -> None:
        await actions.delete(self._services, account_id, self._row.id)

    def _redelivery(self, delivery_id: str) -> Callable[[str], Awaitable[str]]:
        async def redeliver(account_id: str) -> str:
            await actions.redeliver(self._services, account_id, self._row.id, delivery_id)
            return self._row.id

        return redeliver


def _event(gr: Any, act: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """`act` with the visitor's account and the event's arguments. Its refusals are shown to the visitor."""

    async def run(request: gr.Request, *sent: str) -> Any:
        try:
            return await act(place_of(request, Role.OWNER).account_id, *sent)
        except ApiError as error:
            raise gr.Error(error.message, print_exception=False) from error

    return run
