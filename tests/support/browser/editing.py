"""What a person does in the editor, for whole stories."""

from pathlib import Path

from playwright.sync_api import Download, Page, expect

from tests.support.server import RunningServer

WORK_MS = 120_000  # real models on a busy machine


class Editor:
    """The editor in a page, which it opens unless it is open. Points are pixels of the picture."""

    def __init__(self, page: Page, server: RunningServer, *, is_open: bool = False) -> None:
        self.page = page
        self.server = server
        if not is_open:
            page.goto(f"{server.address}/app/")
        expect(page.locator(".bge-editor[aria-busy=false]")).to_be_visible(timeout=20_000)

    def open(self, name: str, content: bytes) -> None:
        file = {"name": name, "mimeType": "image/jpeg", "buffer": content}
        self.page.get_by_label("Picture", exact=True).set_input_files(file)  # type: ignore[arg-type]
        self.shown()

    def open_sample(self, title: str) -> None:
        self.page.get_by_role("button", name=title).first.click()
        self.shown()

    def shown(self) -> None:
        expect(self.page.locator(".workplace")).to_be_visible(timeout=30_000)

    def choose(self, tool: str) -> None:
        self.page.locator(f"[data-tool={tool}]").click()

    def press(self, name: str) -> None:
        """A button of the panel."""
        self.page.locator(".panel").get_by_role("button", name=name).first.click()

    def apply(self, name: str) -> None:
        """Apply a tool and wait for the step it makes."""
        before = self.steps()
        self.press(name)
        expect(self.page.locator(".filmstrip li")).to_have_count(before + 1, timeout=WORK_MS)
        self.idle()

    def idle(self) -> None:
        expect(self.page.locator(".bge-editor.busy")).to_have_count(0, timeout=WORK_MS)

    def steps(self) -> int:
        return self.page.locator(".filmstrip li").count()

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a pixel of the picture is on the page, while all of it is shown."""
        expect(self.page.locator(".stage.loading")).to_have_count(0, timeout=WORK_MS)
        at: list[float] = self.page.evaluate(
            """async ([x, y]) => {
                const { fitView, toScreen } = await import("/static/editor/view.js");
                const stage = document.querySelector(".stage").getBoundingClientRect();
                const [width, height] = document.querySelector(".filmstrip [aria-current]")
                    .title.match(/([0-9]+) × ([0-9]+)/).slice(1).map(Number);
                const margin = stage.width < 600 ? 14 : 36;
                const point = toScreen(fitView({ width, height }, stage, margin), { x, y });
                return [point.x + stage.x, point.y + stage.y];
            }""",
            [x, y],
        )
        return at[0], at[1]

    def click(self, x: float, y: float) -> None:
        self.page.mouse.click(*self.place(x, y))

    def drag(self, *points: tuple[float, float]) -> None:
        places = [self.place(*point) for point in points]
        self.page.mouse.move(*places[0])
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*place, steps=5)
        self.page.mouse.up()

    def save(self, folder: Path, format: str | None = None) -> Path:
        """Download the picture; the file, under the name that was proposed."""
        with self.page.expect_download(timeout=WORK_MS) as started:
            if format is None:
                self.page.keyboard.press("Control+s")
            else:
                self.page.get_by_role("button", name="Download", exact=True).first.click()
                menu = self.page.locator(".menu")
                menu.get_by_role("button", name=format).click()
                menu.get_by_role("button", name="Download").click()
        download: Download = started.value
        target = folder / download.suggested_filename
        download.save_as(target)
        return target
