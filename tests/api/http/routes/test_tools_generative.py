"""Prompts and Segment Anything over HTTP, on real tiny checkpoints."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image as PillowImage

from tests.support.batch_calls import batch_in, batch_of, send_batch
from tests.support.ml import photos, tiny_pipelines
from tests.support.ml.tiny_sam import place_of_an_object, save_tiny_sam
from tests.support.raw_client import send_call
from tests.support.server import RunningServer, ServerFactory, StartServer
from tests.support.waiting import wait_until

PHOTO = photos.photo("coffee")[100:220, 200:360]
MASK = np.zeros(PHOTO.shape[:2], np.uint8)
MASK[40:80, 60:110] = 255
WORDS = {"prompt": "a red cup", "seed": "4", "format": "png"}
STROKES = '[{"points": [[80, 60]], "size": 24}]'
SELECTED = photos.photo("astronaut")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    place = tmp_path_factory.mktemp("tiny")
    return {
        "sd": tiny_pipelines.save_sd(place / "tiny-sd"),
        "sdxl": tiny_pipelines.save_sdxl(place / "tiny-sdxl"),
        "sam": save_tiny_sam(place / "tiny-sam.pth"),
    }


@pytest.fixture(scope="module")
def served(
    folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, server_factory: ServerFactory
) -> Iterator[RunningServer]:
    settings = {
        "BGERASER_INPAINT_CHECKPOINT": str(folders["sd"]),
        "BGERASER_INPAINT_SCHEDULER": "lcm",
        "BGERASER_SAM_CHECKPOINT": str(folders["sam"]),
        "BGERASER_WORKERS": "1",
    }
    with server_factory(tmp_path_factory.mktemp("generative"), settings) as server:
        yield server
        assert server.drifts() == []


def fill(client: httpx.Client, form: dict[str, str] = WORDS, mask: Any = MASK) -> httpx.Response:
    files = {"image": photos.png_bytes(PHOTO)}
    if mask is not None:
        files["mask"] = photos.png_bytes(mask)
    return client.post("/api/tools/generative-fill", files=files, data=form)


def pixels_of(client: httpx.Client, response: httpx.Response) -> Any:
    assert response.status_code == 200, response.text
    return np.asarray(PillowImage.open(io.BytesIO(client.get(response.json()["data"]["imageUrl"]).content)))


def error_of(response: httpx.Response) -> tuple[int, str, str | None]:
    error = response.json()["error"]
    return response.status_code, error["code"], error["param"]


class TestWithoutWords:
    def test_a_network_that_is_not_installed_is_named_with_its_command_and_costs_nothing(
        self, served: RunningServer
    ) -> None:
        with served.client(served.new_customer(credits=3)) as client:
            refused = fill(client, {"model": "lama"})
            assert error_of(refused)[:2] == (503, "MODEL_UNAVAILABLE")
            assert "bgeraser models pull lama" in refused.json()["error"]["message"]
            filled = fill(client, {"format": "png"})
            assert filled.json()["data"]["model"] == "patchmatch"
            assert filled.json()["data"]["creditsRemaining"] == 2

    def test_the_catalogue_lists_the_engines_and_the_choices(self, served: RunningServer) -> None:
        with served.client(None) as client:
            tools = {tool["name"]: tool for tool in client.get("/api/tools").json()["data"]}
        for name in ("generative-fill", "generative-expand", "brush"):
            assert "patchmatch" in tools[name]["engines"]["installed"]
            choices = tools[name]["parameters"]["properties"]["model"]["enum"]
            assert choices == ["auto", "patchmatch", "migan", "lama"]


class TestBatches:
    """A step that can never succeed refuses the batch: otherwise the steps before it would be charged."""

    @pytest.mark.parametrize(
        ("step", "missing"),
        [
            (
                {"tool": "magic-select", "params": {"model": "sam-vit-b", "points": "[[9, 9, 1]]"}},
                "sam-vit-b",
            ),
            ({"tool": "brush", "params": {"op": "heal", "model": "lama", "strokes": STROKES}}, "lama"),
            ({"tool": "bg-removal", "params": {"model": "u2net_human_seg"}}, "u2net_human_seg"),
        ],
    )
    def test_a_checkpoint_that_is_missing_in_a_later_step_refuses_the_batch(
        self, served: RunningServer, step: dict[str, Any], missing: str
    ) -> None:
        customer = served.new_customer(credits=3)
        answer = send_batch(
            served,
            customer,
            [("a.png", photos.png_bytes(PHOTO))],
            steps=json.dumps([{"tool": "crop", "params": {"flip": "h"}}, step]),
        )
        assert error_of(answer) == (503, "MODEL_UNAVAILABLE", "steps")
        error = answer.json()["error"]
        assert error["message"].startswith(f"steps: in step 2, {missing} is not installed.")
        assert f"bgeraser models pull {missing}" in error["message"]
        assert error["retryable"] is False
        with served.client(customer) as client:
            assert client.get("/api/batches").json()["data"]["batches"] == []
        assert served.balance(customer) == (3, 0)

    def test_a_single_step_is_refused_as_a_call(self, served: RunningServer) -> None:
        customer = served.new_customer(credits=1)
        pictures = [("a.png", photos.png_bytes(PHOTO))]
        answer = send_batch(
            served, customer, pictures, tool="brush", op="heal", model="lama", strokes=STROKES
        )
        assert error_of(answer) == (503, "MODEL_UNAVAILABLE", None)
        unknown = send_batch(served, customer, pictures, tool="bg-removal", model="nothing")
        assert error_of(unknown) == (422, "INVALID_PARAMETER", "model")
        assert served.balance(customer) == (1, 0)

    def test_an_unknown_checkpoint_of_a_step_is_named_with_the_step(self, served: RunningServer) -> None:
        steps = [{"tool": "crop", "params": {"flip": "h"}}, {"tool": "bg-removal", "params": {"model": "no"}}]
        answer = send_batch(
            served,
            served.new_customer(credits=1),
            [("a.png", photos.png_bytes(PHOTO))],
            steps=json.dumps(steps),
        )
        assert error_of(answer) == (422, "INVALID_PARAMETER", "steps")
        assert answer.json()["error"]["message"].startswith("steps: in step 2, model must be")

    def test_steps_whose_checkpoints_are_installed_are_run(self, served: RunningServer) -> None:
        steps = [
            {"tool": "crop", "params": {"flip": "h"}},
            {"tool": "generative-fill", "params": {**WORDS, "strokes": STROKES}},
        ]
        customer = served.new_customer(credits=2)
        answer = send_batch(served, customer, [("a.png", photos.png_bytes(PHOTO))], steps=json.dumps(steps))
        assert batch_in(served, customer, batch_of(answer))["creditsCharged"] == 2


class TestWords:
    def test_a_fill_depends_on_its_seed_and_changes_only_the_masked_area(self, served: RunningServer) -> None:
        with served.client(served.new_customer(credits=3)) as client:
            first = fill(client)
            pixels = pixels_of(client, first)
            data = first.json()["data"]
            assert (data["model"], data["device"], data["seed"]) == ("tiny-sd", "cpu", 4)
            assert (data["creditsCharged"], data["creditsRemaining"]) == (1, 2)
            near = np.zeros(MASK.shape, np.bool_)
            near[40 - 13 : 80 + 13, 60 - 13 : 110 + 13] = True
            assert np.array_equal(pixels[~near], PHOTO[~near])
            assert not np.array_equal(pixels[near], PHOTO[near])
            # With a key of its own the same request is worked on again.
            again = client.post(
                "/api/tools/generative-fill",
                files={"image": photos.png_bytes(PHOTO), "mask": photos.png_bytes(MASK)},
                data=WORDS,
                headers={"Idempotency-Key": "again"},
            )
            assert again.json()["data"]["creditsCharged"] == 1
            assert np.array_equal(pixels_of(client, again), pixels)
            other = pixels_of(client, fill(client, {**WORDS, "seed": "5"}))
            assert not np.array_equal(other, pixels)

    def test_an_expand_depends_on_its_prompt(self, served: RunningServer) -> None:
        with served.client(served.new_customer(credits=2)) as client:
            answers = []
            for prompt in ("a red cup", "the sea"):
                response = client.post(
                    "/api/tools/generative-expand",
                    files={"image": photos.png_bytes(PHOTO)},
                    data={**WORDS, "prompt": prompt, "left": "60", "top": "30"},
                )
                answers.append(pixels_of(client, response))
                assert response.json()["data"]["bbox"] == [60, 30, 220, 150]
            assert np.array_equal(answers[0][30:, 60:][16:, 16:], PHOTO[16:, 16:])
            assert not np.array_equal(*answers)

    def test_the_catalogue_lists_the_checkpoint_and_its_defaults(self, served: RunningServer) -> None:
        with served.client() as client:
            tools = {tool["name"]: tool for tool in client.get("/api/tools").json()["data"]}
        usual = {"steps": 4, "guidance_scale": 1.0}
        for name, defaults in (
            ("generative-fill", usual | {"strength": 1.0}),
            ("generative-expand", usual),
        ):
            engines = tools[name]["engines"]
            assert engines["installed"] == ["patchmatch", "tiny-sd"]
            assert engines["defaults"] == defaults
        assert "sam" in tools["magic-select"]["engines"]["installed"]
        assert tools["crop"]["engines"]["defaults"] == {}

    @pytest.mark.parametrize(
        ("form", "param"),
        [
            ({"prompt": "x" * 2001}, "prompt"),
            ({"negative_prompt": "x" * 2001}, "negative_prompt"),
            ({"steps": "0"}, "steps"),
            ({"steps": "10000"}, "steps"),
            ({"steps": "51"}, "steps"),  # more than the checkpoint's LCM scheduler has
            ({"strength": "0.01"}, "strength"),
            ({"guidance_scale": "nan"}, "guidance_scale"),
            ({"strength": "0"}, "strength"),
            ({"seed": "-1"}, "seed"),
            ({"negative_prompt": "dogs", "guidance_scale": "1"}, "negative_prompt"),
        ],
    )
    def test_invalid_input_names_the_parameter_and_is_not_charged(
        self, served: RunningServer, form: dict[str, str], param: str
    ) -> None:
        customer = served.new_customer(credits=1)
        with served.client(customer) as client:
            assert error_of(fill(client, {**WORDS, **form})) == (422, "INVALID_PARAMETER", param)
        assert served.balance(customer) == (1, 0)

    def test_a_mask_that_marks_nothing_or_everything_is_refused(self, served: RunningServer) -> None:
        customer = served.new_customer(credits=1)
        with served.client(customer) as client:
            assert error_of(fill(client, mask=MASK * 0))[:2] == (422, "MASK_EMPTY")
            assert error_of(fill(client, mask=MASK * 0 + 255)) == (422, "INVALID_PARAMETER", "mask")
            assert error_of(fill(client, mask=None)) == (422, "INVALID_PARAMETER", "mask")
        assert served.balance(customer) == (1, 0)

    def test_a_call_of_a_disconnected_client_frees_its_worker(self, served: RunningServer) -> None:
        customer = served.new_customer(credits=2)
        with served.client(customer) as client:
            leaving = send_call(
                served,
                customer,
                "generative-fill",
                {"image": photos.png_bytes(PHOTO), "mask": photos.png_bytes(MASK)},
                {**WORDS, "steps": "50", "guidance_scale": "8"},
            )

            def running() -> int:
                return int(client.get("/readyz").json()["data"]["queue"]["running"])

            wait_until(lambda: running() == 1)
            leaving.close()
            wait_until(lambda: running() == 0)
            assert fill(client).status_code == 200
        # The worker may have put the call back into the queue, where it is withdrawn without a charge.
        assert served.balance(customer) in [(0, 0), (1, 0)]


class TestSegmentAnything:
    def test_a_stored_image_is_encoded_once_for_several_clicks(self, served: RunningServer) -> None:
        x, y = place_of_an_object(SELECTED)
        customer = served.new_customer(credits=3)
        with served.client(customer) as client:
            uploaded = client.post("/api/images", files={"image": photos.png_bytes(SELECTED)})
            image_id = uploaded.json()["data"]["imageId"]
            form = {"image_id": image_id, "points": json.dumps([[x, y, 1]]), "model": "sam"}
            first = client.post("/api/tools/magic-select", data=form)
            data = first.json()["data"]
            assert (first.status_code, data["model"], data["device"]) == (200, "sam", "cpu")
            again = client.post("/api/tools/magic-select", data={**form, "multimask": "3"})
            assert again.json()["data"]["masks"]
            kept = list((served.data_dir / "images").rglob("*.embedding-sam"))
            assert len(kept) == 1
            assert data["maskId"] == data["imageId"]
        assert served.balance(customer) == (1, 0)

    def test_a_missing_checkpoint_names_the_install_command(self, served: RunningServer) -> None:
        customer = served.new_customer(credits=1)
        with served.client(customer) as client:
            response = client.post(
                "/api/tools/magic-select",
                files={"image": photos.png_bytes(SELECTED)},
                data={"points": "[[9, 9, 1]]", "model": "sam-vit-b"},
            )
            assert error_of(response)[:2] == (503, "MODEL_UNAVAILABLE")
            assert "bgeraser models pull sam-vit-b" in response.json()["error"]["message"]
        assert served.balance(customer) == (1, 0)


@pytest.mark.long  # starts a server for each
class TestOperatorsMistakes:
    def test_nothing_is_charged_for_a_checkpoint_that_cannot_be_served(
        self, start_server: StartServer, folders: dict[str, Path], tmp_path: Path
    ) -> None:
        (tmp_path / "pickle.ckpt").write_bytes(b"\x80\x04N.")
        for chosen in (tmp_path / "nowhere", tmp_path / "pickle.ckpt"):
            server = start_server(BGERASER_INPAINT_CHECKPOINT=str(chosen), BGERASER_WORKERS="1")
            customer = server.new_customer(credits=1)
            with server.client(customer) as client:
                response = fill(client)
                assert error_of(response)[:2] == (503, "MODEL_UNAVAILABLE")
                message = response.json()["error"]["message"]
                assert "bgeraser models pull" in message
                assert str(tmp_path) not in message
                assert fill(client, {"format": "png"}).status_code == 200, "without words it works"
            assert server.balance(customer) == (0, 0)
            server.stop()

    def test_an_sdxl_pipeline_is_served_and_insufficient_memory_is_reported(
        self, start_server: StartServer, folders: dict[str, Path]
    ) -> None:
        server = start_server(
            BGERASER_INPAINT_CHECKPOINT=str(folders["sdxl"]), BGERASER_INPAINT_STEPS="2", BGERASER_WORKERS="1"
        )
        with server.client(server.new_customer(credits=1)) as client:
            pixels_of(client, fill(client))
        server.stop()
        small = start_server(
            BGERASER_INPAINT_CHECKPOINT=str(folders["sdxl"]),
            BGERASER_WORKER_MEMORY_MB="512",
            BGERASER_WORKERS="1",
        )
        customer = small.new_customer(credits=1)
        with small.client(customer) as client:
            response = fill(client)
            assert error_of(response)[:2] == (503, "SERVICE_UNAVAILABLE")
            assert int(response.headers["Retry-After"]) >= 1
        assert small.balance(customer) == (1, 0)
