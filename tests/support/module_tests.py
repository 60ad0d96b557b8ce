"""Checks that the tests of every module are found by its name.

    python -m tests.support.module_tests

The tests of `api/calls/service.py` are in `tests/api/calls/test_service.py`, or in files such as
`test_service_load.py` beside it. Modules tested elsewhere and modules without logic are listed here, with the
place or the reason. `make check` runs this and fails if it prints anything.
"""

import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("api", "billing", "ml", "web")

#: Modules without logic of their own, by the reason. Every test of a server runs the wiring.
NO_LOGIC = {
    "types and errors": (
        "api/alerts/models.py",
        "api/auth/models.py",
        "api/batches/models.py",
        "api/calls/account_status.py",
        "api/calls/models.py",
        "api/calls/types.py",
        "api/db/models.py",
        "api/durable/tasks.py",
        "api/editor/models.py",
        "api/http/batch_schemas.py",
        "api/http/schemas.py",
        "api/editor/run_states.py",
        "api/images/models.py",
        "api/jobs/models.py",
        "api/memberships/models.py",
        "api/operators/models.py",
        "api/payments/models.py",
        "api/webhooks/models.py",
        "billing/errors.py",
        "billing/ledger/models.py",
        "billing/subscriptions/models.py",
        "billing/subscriptions/types.py",
        "ml/backend.py",
        "ml/runtime/worker_interface.py",
        "ml/checkpoints/types.py",
        "ml/errors.py",
        "ml/pixels.py",
        "ml/tool.py",
        "web/cli/run/types.py",
    ),
    "constants": (
        "billing/ledger/plans.py",
        "api/http/mcp/paths.py",
        "api/images/media_types.py",
        "ml/engines/network_facts.py",
        "ml/generative_config.py",
        "ml/imaging/mask_modes.py",
        "web/gradio/theme.py",
        "web/plans/messages.py",
    ),
    "wiring": (
        "api/services.py",
        "web/app.py",
        "web/auth/services.py",
        "web/bootstrap.py",
        "web/cli/__main__.py",
        "web/cli/main.py",
        "web/editor/page.py",
        "web/editor/routes.py",
    ),
}

#: Modules tested through others. A key is a path or a pattern, a value the files that test it.
TESTED_THROUGH = {
    "api/auth/account_deletion.py": "web/auth/test_settings_page.py",
    "api/auth/external_identities.py": "api/auth/test_registration.py",
    "api/auth/former_accounts.py": "web/auth/test_settings_page.py",
    "api/auth/known_devices.py": "api/auth/test_registration.py",
    "api/auth/tokens.py": "api/auth/test_registration.py",
    "api/background.py": "api/calls/test_leases.py",
    "api/payments/checkout.py": "api/payments/test_surplus_subscriptions.py",
    "api/payments/invoices.py": "web/plans/test_invoices.py",
    "billing/subscriptions/reversals.py": "billing/subscriptions/test_payments_against_model.py",
    "web/plans/rendering.py": "web/plans/test_routes.py",
    "api/calls/call_spans.py": "api/tracing/test_spans.py",
    "api/calls/execution.py": "api/calls/test_service.py",
    "api/calls/tool_runner.py": "api/calls/test_service.py",
    "api/http/stored_images.py": "journeys/test_bucket.py",
    "api/http/worker_app.py": "journeys/test_replicas.py",
    "web/cli/serving.py": "api/calls/test_shutdown.py",
    "web/cli/worker.py": "journeys/test_replicas.py",
    "ml/runtime/child_process.py": "ml/runtime/test_local_lifecycle.py",
    "ml/runtime/cluster/driver.py": "ml/runtime/cluster/test_backend.py",
    "ml/runtime/cluster/messages.py": "ml/runtime/cluster/test_link.py",
    "ml/runtime/cluster/connection.py": "web/cli/test_cluster.py",
    "ml/runtime/cluster/deployment.py": "ml/runtime/cluster/test_backend.py",
    "ml/runtime/cluster/engine_report.py": "ml/runtime/cluster/test_replica.py",
    "ml/runtime/pool.py": "ml/runtime/test_local.py",
    "api/durable/workflows.py": "api/durable/test_engine.py",
    "api/batches/acceptance.py": "api/http/routes/test_batches.py",
    "api/batches/descriptions.py": "api/http/routes/test_batches.py",
    "api/batches/service.py": "api/batches/test_progress.py",
    "api/batches/steps.py": "api/http/routes/test_batches.py",
    "api/batches/transitions.py": "api/batches/test_progress.py",
    "api/editor/batch_states.py": "web/editor/test_batch_routes.py",
    "api/editor/batch_uploads.py": "web/editor/test_batch_routes.py",
    "api/http/batch_downloads.py": "api/http/routes/test_batches.py",
    "api/http/batch_forms.py": "api/http/routes/test_batches.py",
    "api/jobs/acceptance.py": "api/http/routes/test_jobs.py",
    "api/jobs/inputs.py": "api/http/routes/test_jobs.py",
    "api/jobs/service.py": "api/http/routes/test_jobs.py",
    "api/jobs/watching.py": "api/http/test_job_streams.py",
    "api/db/connections.py": "api/db/test_database.py",
    "api/db/probe.py": "api/test_readiness.py",
    "api/db/write_queue.py": "api/db/test_database.py",
    "api/calls/fetch_admission.py": "api/http/sources/test_remote_sources.py",
    "api/http/json_calls.py": "api/http/sources/test_json_calls.py",
    "api/http/openapi_webhooks.py": "api/http/test_openapi.py",
    "api/http/openapi_bodies.py": "api/http/test_openapi.py",
    "api/http/remote_sources.py": "api/http/sources/test_remote_sources.py",
    "api/http/json_forms.py": "api/http/test_base64_files.py",
    "api/http/long_texts.py": "api/http/test_base64_files.py",
    "api/http/mcp/arguments.py": "api/http/mcp/test_server.py",
    "api/http/mcp/exchange.py": "api/http/mcp/test_sessions.py",
    "api/http/mcp/tools.py": "api/http/mcp/test_server.py",
    "api/http/openapi_examples.py": "api/http/test_openapi.py",
    "api/http/refusals.py": "api/http/removebg/test_refusals.py",
    "api/http/removebg/bodies.py": "api/http/removebg/test_routes.py",
    "api/http/removebg/errors.py": "api/http/removebg/test_refusals.py",
    "api/http/removebg/openapi.py": "api/http/test_openapi.py",
    "api/http/removebg/paths.py": "api/http/removebg/test_refusals.py",
    "api/http/removebg/responses.py": "api/http/removebg/test_routes.py",
    "api/remote_files/pinned_connections.py": "api/remote_files/test_service.py",
    "api/remote_files/remote_urls.py": "api/remote_files/test_service.py",
    "api/editor/overlays.py": "web/editor/test_run_routes.py",
    "api/editor/guest_previews.py": "web/editor/test_guest_previews.py",
    "api/editor/owners.py": "api/editor/test_projects.py",
    "api/editor/run_sharing.py": "api/editor/test_shared_runs.py",
    "api/editor/run_requests.py": "web/editor/test_run_routes.py",
    "api/editor/run_service.py": "web/editor/test_run_routes.py",
    "api/editor/unbilled_images.py": "web/editor/test_unbilled_calls.py",
    "api/http/dependencies.py": "api/calls/test_refusals.py",
    "api/http/json_bodies.py": "api/http/test_parsing_off_the_loop.py",
    "api/http/request_line.py": "api/http/test_parsing_cost.py",
    "api/http/responses.py": "api/http/routes/test_tools.py",
    "api/http/routes/*.py": "api/http/routes/test_tools.py",
    "api/webhooks/deliveries.py": "api/http/routes/test_webhooks.py",
    "api/webhooks/endpoints.py": "api/http/routes/test_webhooks.py",
    "web/auth/browser_names.py": "web/auth/test_settings_page.py",
    "api/webhooks/outbox.py": "api/webhooks/test_runs.py",
    "api/webhooks/signatures.py": "api/webhooks/test_runs.py",
    "api/http/page_queries.py": "api/http/routes/test_jobs.py",
    "api/remote_files/pinned_requests.py": "api/remote_files/test_service.py",
    "api/jobs/descriptions.py": "api/http/routes/test_jobs.py",
    "api/http/tool_docs.py": "api/http/test_openapi.py",
    "api/logging_setup.py": "api/http/middleware/test_request_context.py",
    "api/payments/customer_sync.py": "api/payments/test_event_orders.py",
    "api/payments/stripe_client.py": "api/payments/test_plans.py",
    "api/payments/sync.py": "api/payments/test_surplus_subscriptions.py",
    "api/response_bodies.py": "api/http/routes/test_tools.py",
    "billing/ledger/postings.py": "billing/ledger/test_ledger.py",
    "billing/subscriptions/events.py": "api/payments/test_event_orders.py",
    "billing/subscriptions/setup_objects.py": "billing/subscriptions/test_connection.py",
    "billing/subscriptions/gateway.py": "fakes/test_stripe_shapes.py",
    "billing/subscriptions/invoices.py": "api/payments/test_journeys.py",
    "billing/subscriptions/setup.py": "api/payments/test_plans.py",
    "ml/checkpoints/fetching/licence_file.py": "ml/checkpoints/fetching/test_hub.py",
    "ml/checkpoints/fetching/package_archives.py": "ml/checkpoints/fetching/test_pull.py",
    "ml/checkpoints/fetching/repositories.py": "ml/checkpoints/fetching/test_hub.py",
    "ml/checkpoints/licences.py": "ml/engines/test_pipeline_folder.py",
    "ml/editing/brushing.py": "ml/tools/test_brush.py",
    "ml/editing/engine_selection.py": "ml/tools/test_generative_fill.py",
    "ml/editing/expanding.py": "ml/tools/test_generative_expand.py",
    "ml/editing/foreground.py": "ml/tools/test_bg_removal.py",
    "ml/editing/replacing.py": "ml/tools/test_generative_fill.py",
    "ml/editing/text_prompts.py": "ml/tools/test_generative_fill.py",
    "ml/engines/cache.py": "ml/engines/test_engines.py",
    "ml/engines/diffusion_parts.py": "ml/engines/test_diffusion.py",
    "ml/engines/matting.py": "ml/engines/test_engines.py",
    "ml/engines/ncnn_files.py": "ml/engines/test_ncnn_graph.py",
    "ml/engines/network.py": "ml/engines/test_engines.py",
    "ml/engines/*_runtime.py": "ml/engines/test_engines.py",
    "ml/engines/rembg_engine.py": "ml/engines/test_engines.py",
    "ml/engines/resizing.py": "ml/tools/test_magic_select.py",
    "ml/engines/sam_architecture.py": "ml/engines/test_sam_engine.py",
    "ml/engines/sd_inpainting_config.py": "ml/engines/test_pipeline_folder.py",
    "ml/engines/segmenting.py": "ml/tools/test_magic_select.py",
    "ml/engines/sharpness.py": "ml/editing/test_filling.py",
    "ml/engines/textures.py": "ml/editing/test_filling.py",
    "ml/engines/upscaling.py": "ml/tools/test_upscale.py",
    "ml/imaging/fitting.py": "ml/tools/test_crop.py",
    "ml/imaging/formats/*.py": "ml/imaging/test_codecs_*.py",
    "ml/imaging/geometry.py": "ml/tools/test_crop.py",
    "ml/imaging/matting/*.py": "ml/imaging/matting/test_*.py",
    "ml/imaging/seams.py": "ml/imaging/test_matching.py",
    "ml/imaging/selection_prompts.py": "ml/tools/test_magic_select.py",
    "ml/imaging/srgb.py": "ml/imaging/test_codecs_color.py",
    "ml/imaging/trimming.py": "ml/tools/test_crop.py",
    "ml/runtime/messages.py": "ml/runtime/test_wire.py",
    "ml/runtime/process.py": "ml/runtime/test_local_lifecycle.py",
    "ml/runtime/slot.py": "ml/runtime/test_local_lifecycle.py",
    "ml/runtime/worker.py": "ml/runtime/test_local_hostile.py",
    "ml/tools/selection_encoding.py": "ml/tools/test_magic_select.py",
    "ml/tools/selection_overlay.py": "ml/tools/test_magic_select.py",
    "web/admin/*.py": "web/admin/test_routes.py",
    "api/db/append_only.py": "api/operators/test_audit_log.py",
    "billing/ledger/takeback.py": "billing/ledger/test_ledger_against_model.py",
    "web/auth/browser_session.py": "web/auth/test_visitor.py",
    "web/auth/deletion.py": "web/auth/test_settings_page.py",
    "web/auth/providers.py": "web/auth/test_oauth.py",
    "web/auth/routes.py": "web/auth/test_forms.py",
    "ml/progress.py": "ml/editing/test_filling.py",
    "web/cli/pull_progress.py": "web/cli/test_models.py",
    "web/cli/run/signals.py": "web/cli/run/test_command.py",
    "web/dashboard/*.py": "browser/test_dashboard.py",
    "web/editor/batch_schemas.py": "web/editor/test_batch_routes.py",
    "web/editor/access.py": "web/editor/test_run_routes.py",
    "api/editor/cropping.py": "web/editor/test_crop_routes.py",
    "api/editor/looks.py": "web/editor/test_look_routes.py",
    "api/editor/rendering.py": "web/editor/test_look_routes.py",
    "api/editor/selections.py": "web/editor/test_look_routes.py",
    "ml/tools/bg_removal_params.py": "ml/tools/test_bg_removal.py",
    "web/editor/project_routes.py": "web/editor/test_run_routes.py",
    "web/editor/schemas.py": "web/editor/test_run_routes.py",
    "web/gradio/guard.py": "web/gradio/test_mount.py",
    "web/gradio/page_rewriting.py": "web/gradio/test_mount.py",
    "web/rendering/*.py": "web/site/test_routes.py",
    "web/site/*.py": "web/site/test_routes.py",
}


def problems(root: Path = ROOT) -> Iterator[str]:
    """Modules whose tests are not found, and entries of the tables that are not needed or true."""
    exceptions = {*chain.from_iterable(NO_LOGIC.values()), *TESTED_THROUGH}
    unused = set(exceptions)
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            module = path.relative_to(root).as_posix()
            if path.name == "__init__.py" or "/migrations/" in module or _has_tests(root, path):
                continue
            entries = {entry for entry in exceptions if fnmatch(module, entry)}
            unused -= entries
            if not entries:
                yield f"{module} has no tests under its name in tests/{module.rpartition('/')[0]}"
    for entry in sorted(unused):
        yield f"{entry} does not need its entry in {Path(__file__).name}"
    for entry, test in TESTED_THROUGH.items():
        if not list((root / "tests").glob(test)):
            yield f"tests/{test}, which tests {entry}, does not exist"


def _has_tests(root: Path, path: Path) -> bool:
    folder = root / "tests" / path.relative_to(root).parent
    return (folder / f"test_{path.stem}.py").exists() or any(folder.glob(f"test_{path.stem}_*.py"))


def main() -> int:
    found = list(problems())
    sys.stdout.writelines(f"{problem}\n" for problem in found)
    return len(found)


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
