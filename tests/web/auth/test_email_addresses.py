"""Validation of email addresses."""

import pytest

from web.auth.email_addresses import is_valid_address


@pytest.mark.parametrize("email", ["ada@example.org", "a.b+c@mail.example.co.uk", "printer@office.local"])
def test_common_addresses_are_valid(email: str) -> None:
    assert is_valid_address(email)


@pytest.mark.parametrize(
    "email",
    [
        "",
        "ada",
        "ada@",
        "@example.org",
        "a b@example.org",
        "ada@exa_mple.org",
        "ada@localhost",
        "zoë@example.org",
        "ada@bücher.example",
        "ada@example.org\nBcc: x@example.org",
        "a@b@example.org",
    ],
)
def test_malformed_and_non_ascii_addresses_are_invalid(email: str) -> None:
    assert not is_valid_address(email)
