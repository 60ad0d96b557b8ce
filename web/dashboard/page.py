"""The dashboard's page, and the events that fill it."""

import itertools
from typing import Any

from api.services import Services
from ml.catalogue import TOOLS
from web.dashboard import keys_section, overview, queries
from web.dashboard.events import EVENT, visitor_of

_PERIODS = [("7 days", 7), ("30 days", 30), ("90 days", 90)]
_AXIS_CREDITS_MIN = 5
#: Colours of the tools in the plot. Keys use Gradio's palette, because there may be many.
_COLORS = {
    tool.title: color
    for tool, color in zip(
        TOOLS.values(),
        itertools.cycle(("#0f6b5c", "#c8702a", "#5b62b8", "#b3446c", "#3d86c6", "#8a8f2d", "#6d6f73")),
        strict=False,
    )
}
_CALL_HEADERS = ["Time (UTC)", "Tool", "Key", "Status", "Credits", "ms", "Request"]
_STATEMENT_HEADERS = ["Time (UTC)", "Entry", "Credits", "Balance", "Reference"]


def build(services: Services, page: Any) -> None:
    """Add the dashboard to the Blocks `page`."""
    import gradio as gr

    head = gr.HTML(overview.header(None), apply_default_css=False, elem_id="head", padding=False)
    with gr.Column(elem_id="dashboard"):
        gr.HTML("<h1>Dashboard</h1>", apply_default_css=False, padding=False)
        cards = gr.HTML(apply_default_css=False, elem_id="cards", padding=False)
        with gr.Tabs():
            with gr.Tab("Usage"):
                _build_usage(gr, services, page)
            with gr.Tab("API", id="api"):
                keys_section.build(gr, services, page)
            with gr.Tab("Requests"):
                calls = gr.Dataframe(headers=_CALL_HEADERS, interactive=False, wrap=True, elem_id="calls")
            with gr.Tab("Statement"):
                entries = gr.Dataframe(
                    headers=_STATEMENT_HEADERS, interactive=False, wrap=True, elem_id="statement"
                )
        refresh = gr.Button("Refresh", size="sm", elem_id="refresh")

    async def fill(request: gr.Request) -> tuple[str, str, Any, Any]:
        user = visitor_of(request)
        now = services.clock()
        await services.call_log.write(services.database)  # include the calls of the last seconds
        summary = await services.database.run(
            lambda session: queries.account_summary(session, user.account_id, now)
        )
        rows = await services.database.read(
            lambda session: (
                queries.call_rows(session, user.account_id),
                queries.statement_rows(session, user.account_id),
            )
        )
        plan_card = await overview.read_plan_card(services, user.account_id)
        return overview.header(user), overview.cards(user, summary, plan_card), *rows

    outputs = [head, cards, calls, entries]
    page.load(fill, None, outputs, **EVENT, show_progress="hidden")
    refresh.click(fill, None, outputs, **EVENT, show_progress="hidden")


def usage_chart(bars: list[queries.UsageBar]) -> Any:
    """The update of the usage plot, with its days in the order of `bars`."""
    import gradio as gr
    import pandas

    frame = pandas.DataFrame([vars(bar) for bar in bars])
    # Days are labels without a year, which the plot would sort alphabetically: January before December.
    every_day = list(dict.fromkeys(bar.day for bar in bars))
    # A minimum, so that the axis is labelled with whole credits when there is little usage.
    credits_max = int(frame.groupby("day")["credits"].sum().max())
    return gr.BarPlot(value=frame, sort=every_day, y_lim=[0, max(_AXIS_CREDITS_MIN, credits_max)])


def _build_usage(gr: Any, services: Services, page: Any) -> None:
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

    async def draw(days_value: int, group_value: str, request: gr.Request) -> Any:
        user = visitor_of(request)
        day_count = days_value if days_value in {days for _, days in _PERIODS} else 30
        group: queries.GroupBy = "key" if group_value == "key" else "tool"
        await services.call_log.write(services.database)
        bars = await services.database.read(
            lambda session: queries.usage_bars(session, user.account_id, day_count, group, services.clock())
        )
        return usage_chart(bars)

    for event in (page.load, days.change, group_by.change):
        event(draw, [days, group_by], plot, **EVENT, show_progress="hidden")
