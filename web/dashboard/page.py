"""The dashboard's page, and the events that fill it."""

from typing import Any

from api.memberships.models import Role
from api.services import Services
from web.dashboard import chart, keys_section, overview, queries, webhooks_section
from web.dashboard.events import EVENT, place_of, visitor_of
from web.rendering import pages

_PERIODS = [("7 days", 7), ("30 days", 30), ("90 days", 90)]
_CALL_HEADERS = ("Time (UTC)", "What", "Key", "Outcome", "Credits", "Time taken", "Request")
_KEY_HEADERS = ("Key", "Calls", "Credits", "Monthly limit")
_TEST_HEADERS = ("Test key", "Calls, free of charge")
_STATEMENT_HEADERS = ("Time (UTC)", "What", "Credits", "Balance", "Request")


def build(services: Services, page: Any) -> None:
    """Add the dashboard to the Blocks `page`."""
    import gradio as gr

    def html(value: str | None = None, elem_id: str | None = None) -> Any:
        return gr.HTML(value, apply_default_css=False, elem_id=elem_id, padding=False, js_on_load=None)

    head = html(overview.header(None), "head")
    with gr.Column(elem_id="dashboard"):
        with gr.Row(elem_id="title"):
            html("<h1>Dashboard</h1>")
            refresh = gr.Button("Refresh", size="sm", elem_id="refresh")
        cards = html(elem_id="cards")
        # Without a menu, which would list tabs that the style sheet hides.
        with gr.Tabs(overflow_behavior="wrap"):
            with gr.Tab("Usage"):
                _build_usage(gr, services, page)
            with gr.Tab("API", id="api", elem_id="api-tab"):
                keys_section.build(gr, services, page)
            with gr.Tab("Webhooks", elem_id="webhooks-tab"):
                webhooks_section.build(gr, services, page)
            with gr.Tab("Requests"):
                calls = html(elem_id="calls")
            with gr.Tab("Statement", elem_id="statement-tab"):
                entries = html(elem_id="statement")

    async def fill(request: gr.Request) -> tuple[Any, ...]:
        user = visitor_of(request)
        place, is_owner = user.place, user.place.role is Role.OWNER
        now = services.clock()
        await services.call_log.write(services.database)  # include the calls of the last seconds
        summary = await services.database.run(
            lambda session: queries.account_summary(session, place.account_id, now)
        )
        call_rows, statement_rows = await services.database.read(
            lambda session: (
                queries.call_rows(session, place.account_id),
                queries.statement_rows(session, place.account_id) if is_owner else [],
            )
        )
        plan_card = await overview.read_plan_card(services, place.account_id) if is_owner else None
        return (
            overview.header(user),
            overview.cards(user, summary, plan_card),
            _table("Requests", _CALL_HEADERS, call_rows, "No calls yet."),
            _table("Statement", _STATEMENT_HEADERS, statement_rows, "No credits yet."),
        )

    outputs = [head, cards, calls, entries]
    page.load(fill, None, outputs, **EVENT, show_progress="hidden")
    refresh.click(fill, None, outputs, **EVENT, show_progress="hidden")


def _table(caption: str, headers: tuple[str, ...], rows: list[list[str | int]], empty: str) -> str:
    """`empty` is what is shown instead of a table without rows."""
    return pages.fragment("dashboard/table.html", caption=caption, headers=headers, rows=rows, empty=empty)


def _build_usage(gr: Any, services: Services, page: Any) -> None:
    with gr.Row(elem_id="periods"):
        days = gr.Radio(_PERIODS, value=30, label="Period")
        group_by = gr.Radio([("Tool", "tool"), ("Key", "key")], value="tool", label="By")
    usage = gr.HTML(apply_default_css=False, elem_id="usage", padding=False, js_on_load=None)
    by_key = gr.HTML(apply_default_css=False, elem_id="usage-by-key", padding=False, js_on_load=None)

    async def draw(days_value: int, group_value: str, request: gr.Request) -> tuple[str, str]:
        account_id = place_of(request).account_id
        day_count = days_value if days_value in {days for _, days in _PERIODS} else 30
        group: queries.GroupBy = "key" if group_value == "key" else "tool"
        await services.call_log.write(services.database)
        now = services.clock()
        bars, of_keys = await services.database.read(
            lambda session: (
                queries.usage_bars(session, account_id, day_count, group, now),
                queries.usage_by_key(session, account_id, now),
            )
        )
        return chart.render(bars), _usage_by_key(of_keys, f"{now:%B %Y}")

    for event in (page.load, days.change, group_by.change):
        event(draw, [days, group_by], [usage, by_key], **EVENT, show_progress="hidden")


def _usage_by_key(found: list[queries.KeyUsage], month: str) -> str:
    """Two tables: what cost credits, and what test keys did."""
    live: list[list[str | int]] = [
        [
            each.name,
            f"{each.calls:,}",
            f"{each.credits:,}",
            "none" if each.limit is None else f"{each.limit:,}",
        ]
        for each in found
        if not each.is_test
    ]
    tests: list[list[str | int]] = [[each.name, f"{each.calls:,}"] for each in found if each.is_test]
    tables: list[dict[str, object]] = [
        {
            "caption": f"Usage by key in {month}",
            "headers": _KEY_HEADERS,
            "rows": live,
            "empty": "No calls this month yet.",
        }
    ]
    if tests:
        tables.append(
            {"caption": f"Test calls in {month}", "headers": _TEST_HEADERS, "rows": tests, "empty": ""}
        )
    return pages.fragment("dashboard/usage_by_key.html", month=month, tables=tables)
