"""Validates the email addresses that people and operators enter."""


def is_valid_address(email: str) -> bool:
    """Whether mail can be sent to `email`, by its syntax only.

    Names and domains outside ASCII are refused, because not every mail server accepts them.
    """
    # Imported here: it brings the DNS library along, which only sign-ups and the command line need.
    from email_validator import EmailNotValidError, validate_email

    try:
        return validate_email(email, check_deliverability=False, allow_smtputf8=False).ascii_email == email
    except EmailNotValidError:
        return False
