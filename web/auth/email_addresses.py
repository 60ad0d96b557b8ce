"""Validates the email addresses that people and operators enter."""


def is_valid_address(email: str) -> bool:
    """Whether mail can be sent to `email`, by its syntax only.

    Names and domains outside ASCII are refused, because not every mail server accepts them.
    """
    # Imported here: it brings the DNS library along, which only sign-ups and the command line need.
    from email_validator import SPECIAL_USE_DOMAIN_NAMES, EmailNotValidError, validate_email

    if "local" in SPECIAL_USE_DOMAIN_NAMES:
        SPECIAL_USE_DOMAIN_NAMES.remove("local")  # Mail servers of a local network use it.
    try:
        return validate_email(email, check_deliverability=False, allow_smtputf8=False).ascii_email == email
    except EmailNotValidError:
        return False
