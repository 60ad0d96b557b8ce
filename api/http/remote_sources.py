"""Fetching the files that a request names by URL, for all routes that accept them."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from fastapi import Request

from api.auth.authenticator import Caller
from api.calls import service as calls
from api.calls.types import CallRequest, CallResult
from api.errors import IdempotencyInProgress, InvalidParameter
from api.http import dependencies, responses
from api.http.middleware import body_limits
from api.images import service as images
from api.services import Services
from billing.ledger.plans import PLANS
from ml.errors import BadParameter


@dataclass(frozen=True)
class RemoteSource:
    """A file's URL, and the parameter that it was sent as."""

    param: str
    url: str


async def with_files(
    request: Request,
    services: Services,
    caller: Caller,
    call: CallRequest,
    sources: Mapping[str, RemoteSource],
    claims: ExitStack,
) -> CallRequest | CallResult:
    """`call` with the files of `sources` too, by their form names; or the stored answer to its key.

    Nothing is fetched for a call that is refused, nor for a replay. `claims` is closed after the call has
    run: until then nothing is fetched for another one with its key. Raises `CallFailed`,
    `IdempotencyInProgress`, `InvalidParameter` for files that the parameters exclude, and as `fetch`.
    """
    if not sources:
        return call
    _check_files(call, sources)
    call = replace(call, urls={file: source.url for file, source in sources.items()})
    if call.idempotency_key is not None:
        claims.enter_context(claimed_key(services, call.account_id, call.idempotency_key))
    outcome = await calls.admit_fetch(services, call)
    if isinstance(outcome, CallResult):
        return outcome
    responses.set_account_status(request, outcome)
    fetched = await fetch(request, services, caller, sources)
    return replace(call, files={**call.files, **fetched}, rate_taken=True)


def _check_files(call: CallRequest, sources: Mapping[str, RemoteSource]) -> None:
    """Raise what the tool would find wrong with the files' names once they are there."""
    try:
        call.tool.check_files(call.params, {*call.files, *sources})
    except BadParameter as error:
        source = sources.get(error.name)
        param = call.id_fields.get(error.name, error.name) if source is None else source.param
        named, rest = error.message[: len(error.name)], error.message[len(error.name) :]
        raise InvalidParameter(param, param + rest if named == error.name else error.message) from None


async def fetch(
    request: Request, services: Services, caller: Caller, sources: Mapping[str, RemoteSource]
) -> dict[str, bytes]:
    """The files, which count as a part of the request's body. Raises as `RemoteFiles.fetch`."""
    files: dict[str, bytes] = {}
    fetched_bytes = 0
    for file, source in sources.items():
        before = fetched_bytes

        def count(received_bytes: int, before: int = before) -> None:
            body_limits.count_fetched(request.scope, before + received_bytes)

        fetching = services.remote_files.fetch(
            source.url,
            source.param,
            account_id=caller.account_id,
            concurrent=PLANS[caller.plan].concurrent_calls,
            limit_bytes=images.FILE_LIMIT_BYTES,
            on_bytes=count,
        )
        files[file] = await dependencies.while_connected(request, fetching)
        fetched_bytes += len(files[file])
    return files


@contextmanager
def claimed_key(services: Services, account_id: str, idempotency_key: str) -> Iterator[None]:
    """Refuse a second request with this key while the files of the first are fetched.

    Once the call is admitted the database refuses it. Raises `IdempotencyInProgress`.
    """
    claim = (account_id, idempotency_key)
    if claim in services.fetching_keys:
        raise IdempotencyInProgress("The first call with this key is still running.", 1)
    services.fetching_keys.add(claim)
    try:
        yield
    finally:
        services.fetching_keys.discard(claim)
