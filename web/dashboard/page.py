"""Composes the dashboard's page and fills it when it is opened."""

import itertools
from typing import Any

from api.services import Services
from ml.catalogue import TOOLS
from web.dashboard import keys_section, overview, plan_card, queries
from web.dashboard.access import EVENT, owner_of

_PERIODS = [("7 days", 7), ("30 days", 30), ("90 days", 90)]
_LEAST_AXIS_CREDITS = 5
#: Of the plot's groups; keys, which may be many, take the library's own.
_COLORS = {
    tool.title: color
    for tool, color in zip(
        TOOLS.values(),
        itertools.cycle(("#0f6b5c", "#c8702a", "#5b62b8", "#b3446c", "#3d86c6", "#8a8f2d", "#6d6f73")),
        strict=False,
    )
}
_CALLS = ["Time (UTC)", "Tool", "Key", "Status", "Credits", "ms", "Request"]
_ENTRIES = ["Time (UTC)", "Entry", "Credits", "Balance", "Reference"]


def build(services: Services, page: Any) -> None:
    """Adds the dashboard to the Blocks `page`, which is being built."""
    import gradio as gr

    head = gr.HTML(overview.head(None), apply_default_css=False, elem_id="head", padding=False)
    with gr.Column(elem_id="dashboard"):
        gr.HTML("<h1>Dashboard</h1>", apply_default_css=False, padding=False)
        cards = gr.HTML(apply_default_css=False, elem_id="cards", padding=False)
        with gr.Tabs():
            with gr.Tab("Usage"):
                _usage(gr, services, page)
            with gr.Tab("API", id="api"):
                keys_section.build(gr, services, page)
            with gr.Tab("Requests"):
                calls = gr.Dataframe(headers=_CALLS, interactive=False, wrap=True, elem_id="calls")
            with gr.Tab("Statement"):
                entries = gr.Dataframe(headers=_ENTRIES, interactive=False, wrap=True, elem_id="statement")
        again = gr.Button("Refresh", size="sm", elem_id="refresh")

    async def fill(request: gr.Request) -> tuple[str, str, Any, Any]:
        owner = owner_of(services, request)
        now = services.clock()
        await services.call_log.write(services.database)  # the call made a moment ago is there too
        standing = await services.database.run(
            lambda session: queries.account_summary(session, owner.account_id, now)
        )
        rows = await services.database.read(
            lambda session: (
                queries.call_rows(session, owner.account_id),
                queries.statement_rows(session, owner.account_id),
            )
        )
        plan = await plan_card.read(services, owner.account_id)
        return overview.head(owner), overview.cards(owner, standing, plan), *rows

    filled = [head, cards, calls, entries]
    page.load(fill, None, filled, **EVENT, show_progress="hidden")
    again.click(fill, None, filled, **EVENT, show_progress="hidden")


def _usage(gr: Any, services: Services, page: Any) -> None:
    with gr.Row():
        days = gr.Dropdown(_PERIODS, value=30, label="Period")
        group_by = gr.Dropdown([("Tool", "tool"), ("Key", "key")], value="tool", label="By")
    plot = gr.BarPlot(
        x="day",
        y="credits",
        color="group",
        title="Credits a day",
        x_title="Day (UTC)",
        y_title="Credits",
        color_title="",
        height=300,
        sort=None,
        x_label_angle=-60,
        color_map=_COLORS,
        buttons=[],
        elem_id="usage",
    )

    async def draw(chosen_days: int, chosen_group: str, request: gr.Request) -> Any:
        import pandas

        owner = owner_of(services, request)
        shown_days = chosen_days if chosen_days in {days for _, days in _PERIODS} else 30
        grouped: queries.GroupBy = "key" if chosen_group == "key" else "tool"
        await services.call_log.write(services.database)
        found = await services.database.read(
            lambda session: queries.bars(session, owner.account_id, shown_days, grouped, services.clock())
        )
        # The axis always has whole credits on it, also on a day without any.
        frame = pandas.DataFrame([vars(bar) for bar in found])
        most = int(frame.groupby("day")["credits"].sum().max())
        return gr.BarPlot(value=frame, y_lim=[0, max(_LEAST_AXIS_CREDITS, most)])

    for event in (page.load, days.change, group_by.change):
        event(draw, [days, group_by], plot, **EVENT, show_progress="hidden")
