"""What is an e-mail address."""

from email_validator import EmailNotValidError, validate_email

from servicekit.errors import Invalid


def check_email(email: str) -> None:
    """Check the form of an address; nobody asks whether it receives anything. Raises Invalid."""
    try:
        validate_email(email, check_deliverability=False)
    except EmailNotValidError as error:
        raise Invalid.single(str(error), "body", "email") from None
